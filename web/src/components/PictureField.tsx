import { Trash2, Upload } from "lucide-react";
import { type ReactNode, useCallback, useRef } from "react";

import type { Range, Size } from "@/lib/offer";
import type { Placed } from "@/lib/pictures";

import { Button } from "./Button";
import { CropFrame } from "./CropFrame";
import { Field, FieldFault } from "./Field";
import styles from "./PictureField.module.css";
import { PictureChoice } from "./PictureChoice";
import { Slider } from "./Slider";

interface Props {
  /** What the picture is called among others: "picture", "control image". */
  name: string;
  /** What a region of it is called. */
  label: string;
  icon: ReactNode;
  /** What the button says while there is none. */
  invitation: string;
  placed: Placed | null;
  /** What the model is to make: the picture is cut to its shape. */
  size: Size;
  fault?: string | undefined;
  /** How much it counts. */
  amount: null | { label: string; value: number; range: Range; hint: string; fault?: string | undefined };
  /** What else can be done with it. */
  tools?: ReactNode;
  onFile: (file: File) => void;
  onChange: (placed: Placed | null) => void;
  onAmount: (value: number) => void;
}

/** A picture that is given to the model: which, what part of it, and how much it counts. */
export function PictureField({ name, label, icon, invitation, placed, size, fault, amount, tools, ...acts }: Props) {
  const isChosenHere = useRef(false);
  // What comes with a picture that was chosen here shows at once, however little room there was below.
  const reveal = useCallback((section: HTMLElement | null) => {
    if (section && isChosenHere.current) section.scrollIntoView({ block: "nearest" });
  }, []);
  const choose = (file: File): void => {
    isChosenHere.current = true;
    acts.onFile(file);
  };
  if (!placed)
    return (
      <PictureChoice icon={icon} onFile={choose}>
        {invitation}
      </PictureChoice>
    );
  return (
    <section ref={reveal} className={styles.picture} aria-label={label}>
      <CropFrame
        source={placed.source}
        size={size}
        focus={placed.focus}
        mask={placed.mask.done}
        onFocus={(focus) => acts.onChange({ ...placed, focus })}
      />
      <div className={styles.row}>
        {tools}
        <span className={styles.space} />
        <PictureChoice icon={<Upload />} label={`Another ${name}`} onFile={acts.onFile} />
        <Button
          look="ghost"
          size="small"
          aria-label={`Without the ${name}`}
          icon={<Trash2 />}
          onClick={() => acts.onChange(null)}
        />
      </div>
      <FieldFault>{fault}</FieldFault>
      {amount ? (
        <Field label={amount.label} error={amount.fault} hint={amount.hint}>
          {({ id, describedBy }) => (
            <Slider
              id={id}
              label={amount.label}
              value={amount.value}
              {...amount.range}
              step={0.05}
              describedBy={describedBy}
              onChange={acts.onAmount}
            />
          )}
        </Field>
      ) : null}
    </section>
  );
}

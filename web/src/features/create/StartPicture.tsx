import { Brush, ImagePlus, Trash2, Upload } from "lucide-react";
import { type ReactNode, useRef, useState } from "react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Slider } from "@/components/Slider";
import type { Offer } from "@/lib/offer";

import { CropFrame } from "./CropFrame";
import { change, startFrom, useDesk } from "./desk";
import { sizeOf } from "./draft";
import { take } from "./making";
import { MaskEditor } from "./MaskEditor";
import { isDrawn } from "./mask";
import styles from "./StartPicture.module.css";

/** A picture to start from, how far to leave it, and what of it to paint anew. */
export function StartPicture({ offer }: { offer: Offer }) {
  const image = useDesk((desk) => desk.image);
  const draft = useDesk((desk) => desk.draft);
  const focus = useDesk((desk) => desk.focus);
  const mask = useDesk((desk) => desk.mask);
  const faults = useDesk((desk) => desk.faults);
  const [isMasking, setIsMasking] = useState(false);
  const fault = faults.image ?? faults.mask_image;
  if (!image) {
    return (
      <PictureChoice icon={<ImagePlus />} onFile={(file) => void take(file, file.name, offer)}>
        Start from a picture
      </PictureChoice>
    );
  }
  const isMasked = isDrawn(mask);
  return (
    <section className={styles.picture} aria-label="Picture to start from">
      <CropFrame
        source={image}
        size={sizeOf(draft, offer)}
        focus={focus}
        mask={mask.done}
        onFocus={(to) => useDesk.setState({ focus: to })}
      />
      <div className={styles.row}>
        {offer.takesMask ? (
          <Button size="small" icon={<Brush />} onClick={() => setIsMasking(true)}>
            {isMasked ? "Change the mask" : "Paint a part anew"}
          </Button>
        ) : null}
        <span className={styles.space} />
        <PictureChoice icon={<Upload />} label="Another picture" onFile={(file) => void take(file, file.name, offer)} />
        <Button
          look="ghost"
          size="small"
          aria-label="Without the picture"
          icon={<Trash2 />}
          onClick={() => startFrom(null, offer)}
        />
      </div>
      {fault ? (
        <p className={styles.fault} role="alert">
          {fault}
        </p>
      ) : null}
      <Field
        label="Strength"
        error={faults.strength}
        hint={
          isMasked ? "How much the painted part changes." : "How far to leave the picture: 0 keeps it, 1 forgets it."
        }
      >
        {({ id, describedBy }) => (
          <Slider
            id={id}
            label="Strength"
            value={draft.strength}
            {...offer.strength}
            step={0.05}
            describedBy={describedBy}
            onChange={(strength) => change({ strength })}
          />
        )}
      </Field>
      {isMasking ? (
        <MaskEditor source={image} size={sizeOf(draft, offer)} focus={focus} onClose={() => setIsMasking(false)} />
      ) : null}
    </section>
  );
}

interface ChoiceProps {
  icon: ReactNode;
  label?: string;
  children?: ReactNode;
  onFile: (file: File) => void;
}

/** A button that asks for a picture of this machine. */
export function PictureChoice({ icon, label, children, onFile }: ChoiceProps) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <Button
        look={children ? "plain" : "ghost"}
        size={children ? "usual" : "small"}
        className={children ? styles.choice : undefined}
        aria-label={label}
        icon={icon}
        onClick={() => input.current?.click()}
      >
        {children}
      </Button>
      <input
        ref={input}
        type="file"
        hidden
        accept="image/png,image/jpeg,image/webp,image/*"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) onFile(file);
          event.target.value = "";
        }}
      />
    </>
  );
}

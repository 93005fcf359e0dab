import { ToggleGroup } from "radix-ui";

import { Input } from "@/components/inputs";
import { Field, FieldFault } from "@/components/Field";
import type { Offer, Size } from "@/lib/offer";

import styles from "./SizePicker.module.css";
import { change, useDesk } from "./desk";
import { sizeOf } from "./draft";

const SIDE = 26; // pixels of the longest side of a drawn rectangle
const MOST_DRAWN = 12;

/** The sizes that the model makes, drawn as they are shaped. */
export function SizePicker({ offer }: { offer: Offer }) {
  const draft = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults.width ?? desk.faults.height ?? desk.faults.size);
  const size = sizeOf(draft, offer);
  const isDrawn = offer.sizes.length > 0 && offer.sizes.length <= MOST_DRAWN;
  return (
    <div className={styles.sizes}>
      {isDrawn ? <Drawn sizes={offer.sizes} value={size} /> : <Free offer={offer} value={size} />}
      <FieldFault>{fault}</FieldFault>
    </div>
  );
}

const nameOf = ([width, height]: Size): string => `${width}x${height}`;

function Drawn({ sizes, value }: { sizes: readonly Size[]; value: Size }) {
  const longest = Math.max(...sizes.flat());
  return (
    <ToggleGroup.Root
      type="single"
      aria-label="Size"
      className={styles.group}
      value={nameOf(value)}
      onValueChange={(name) => {
        const size = sizes.find((one) => nameOf(one) === name);
        if (size) change({ size });
      }}
    >
      {sizes.map((size) => (
        <ToggleGroup.Item
          key={nameOf(size)}
          value={nameOf(size)}
          className={styles.item}
          aria-label={`${size[0]} by ${size[1]} pixels`}
        >
          <span className={styles.room} aria-hidden>
            <span
              className={styles.shape}
              style={{ width: (size[0] / longest) * SIDE, height: (size[1] / longest) * SIDE }}
            />
          </span>
          <span className="numbers">
            {size[0]} × {size[1]}
          </span>
        </ToggleGroup.Item>
      ))}
    </ToggleGroup.Root>
  );
}

/** Width and height as numbers, for models that take any multiple or very many sizes. */
function Free({ offer, value }: { offer: Offer; value: Size }) {
  const { sides, multiple } = offer;
  const take = (at: 0 | 1, said: number): void => {
    if (Number.isFinite(said)) change({ size: at === 0 ? [said, value[1]] : [value[0], said] });
  };
  return (
    <div className={styles.free}>
      {(["Width", "Height"] as const).map((label, at) => (
        <Field key={label} label={label}>
          {({ id }) => (
            <Input
              id={id}
              key={value[at]}
              type="number"
              defaultValue={value[at]}
              min={sides.min}
              max={sides.max}
              step={multiple}
              onBlur={(event) => take(at === 0 ? 0 : 1, Math.round(event.target.valueAsNumber / multiple) * multiple)}
            />
          )}
        </Field>
      ))}
    </div>
  );
}

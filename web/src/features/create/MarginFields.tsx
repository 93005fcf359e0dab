import { useState } from "react";

import { FieldFault, Field } from "@/components/Field";
import { Input } from "@/components/inputs";
import { SIDES, type Side, hasMargins, innerOf, isThere } from "@/lib/margins";
import type { Offer } from "@/lib/offer";

import { change, useDesk } from "./desk";
import { sizeOf } from "./draft";
import { withMargin } from "./extras";
import styles from "./MarginFields.module.css";

const LABELS: Readonly<Record<Side, string>> = { left: "Left", right: "Right", top: "Top", bottom: "Bottom" };

/** How far the picture is painted on beyond each of its sides. */
export function MarginFields({ offer, widest }: { offer: Offer; widest: number }) {
  const draft = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults.outpaint);
  const size = sizeOf(draft, offer);
  const inner = innerOf(size, draft.margins);
  const take = (side: Side, said: number): void => {
    const whole = Number.isFinite(said) ? Math.round(said / offer.multiple) * offer.multiple : 0;
    const pixels = Math.min(widest, Math.max(0, whole));
    if (pixels !== draft.margins[side]) {
      change((before) => ({ ...before, ...withMargin(sizeOf(before, offer), before.margins, side, pixels, offer) }));
    }
  };
  return (
    <fieldset className={styles.margins}>
      <legend>Paint beyond its edges, in pixels</legend>
      <div className={styles.sides}>
        {SIDES.map((side) => (
          <Field key={side} label={LABELS[side]}>
            {({ id }) => (
              <Pixels
                id={id}
                value={draft.margins[side]}
                max={widest}
                step={offer.multiple}
                onTake={(said) => take(side, said)}
              />
            )}
          </Field>
        ))}
      </div>
      {hasMargins(draft.margins) && isThere(inner) ? (
        <p className={styles.note}>
          The picture is {inner[0]} × {inner[1]} of {size[0]} × {size[1]}.
        </p>
      ) : null}
      <FieldFault>{fault ?? (isThere(inner) ? null : "The margins leave nothing of the picture.")}</FieldFault>
    </fieldset>
  );
}

interface PixelsProps {
  id: string;
  value: number;
  max: number;
  step: number;
  onTake: (said: number) => void;
}

/** Taken when it is left or sent: half a number would make another canvas. */
function Pixels({ id, value, max, step, onTake }: PixelsProps) {
  const [written, setWritten] = useState<string | null>(null);
  const take = (): void => {
    if (written !== null) onTake(written.trim() === "" ? NaN : Number(written));
    setWritten(null);
  };
  return (
    <Input
      id={id}
      type="number"
      inputMode="numeric"
      value={written ?? value}
      min={0}
      max={max}
      step={step}
      onChange={(event) => setWritten(event.target.value)}
      onBlur={take}
      onKeyDown={(event) => {
        if (event.key === "Enter") take();
      }}
    />
  );
}

import { Field } from "@/components/Field";
import { Slider } from "@/components/Slider";
import type { Extra, Offer } from "@/lib/offer";

import styles from "./Advanced.module.css";
import { change, useDesk } from "./desk";
import { shownOf } from "./draft";
import { beginningOf, extraShown, hintOf, withExtra } from "./extras";

/** Numbers that this kind of model takes: frames of a video, seconds of a sound, where a refiner goes on. */
export function ExtraFields({ offer }: { offer: Offer }) {
  return offer.extras.map((extra) => <One key={`${offer.model} ${extra.name}`} extra={extra} offer={offer} />);
}

function One({ extra, offer }: { extra: Extra; offer: Offer }) {
  const draft = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults[extra.name]);
  const value = extraShown(draft.extras, extra);
  const say = (said: number | null): void =>
    change((before) => ({ ...before, extras: withExtra(before.extras, extra, said) }));
  const hint = hintOf(extra, draft.extras, offer, shownOf(draft, offer).steps);
  return (
    <div>
      {extra.usual === null ? (
        <label className={styles.check}>
          <input
            type="checkbox"
            checked={value !== null}
            onChange={(event) => say(event.target.checked ? beginningOf(extra) : null)}
          />
          <span>{`With ${extra.label.toLowerCase()}`}</span>
        </label>
      ) : null}
      {value === null ? null : (
        <Field label={extra.label} error={fault} hint={hint || undefined}>
          {({ id, describedBy }) => (
            <Slider
              id={id}
              label={extra.label}
              value={value}
              min={extra.min}
              max={extra.max}
              step={extra.step}
              describedBy={describedBy}
              onChange={say}
            />
          )}
        </Field>
      )}
    </div>
  );
}

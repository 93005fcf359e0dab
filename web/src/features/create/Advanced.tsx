import { ChevronRight } from "lucide-react";
import { useState } from "react";

import { Field, FieldFault } from "@/components/Field";
import { Segmented } from "@/components/Segmented";
import { Slider } from "@/components/Slider";
import { Select, TextArea } from "@/components/inputs";
import type { Format } from "@/lib/jobs";
import type { Offer } from "@/lib/offer";

import styles from "./Advanced.module.css";
import { EXTRAS, change, useDesk } from "./desk";
import { shownOf } from "./draft";
import { ExtraFields } from "./ExtraFields";
import { SeedField } from "./SeedField";

const FORMATS: readonly { value: Format; label: string }[] = [
  { value: "png", label: "PNG" },
  { value: "jpeg", label: "JPEG" },
  { value: "webp", label: "WebP" },
];
const INSIDE = ["negative_prompt", "num_inference_steps", "guidance_scale", "solver", "seed", "output.format"].concat(
  EXTRAS,
);

/** What few need often: folded away, and open where something in it is wrong. */
export function Advanced({ offer }: { offer: Offer }) {
  const [isOpen, setIsOpen] = useState(false);
  const isWrong = useDesk((desk) => INSIDE.some((field) => field in desk.faults));
  return (
    <details
      className={styles.advanced}
      open={isOpen || isWrong}
      onToggle={(event) => setIsOpen(event.currentTarget.open)}
    >
      <summary className={styles.summary}>
        <ChevronRight aria-hidden /> Advanced
      </summary>
      <div className={styles.fields}>
        {offer.inputs.includes("negative_prompt") ? <Negative most={offer.promptLength} /> : null}
        <ExtraFields offer={offer} />
        <Numbers offer={offer} />
        <SeedField />
        <Output hasFormat={offer.makesPictures} />
      </div>
    </details>
  );
}

function Negative({ most }: { most: number }) {
  const value = useDesk((desk) => desk.draft.negativePrompt);
  const fault = useDesk((desk) => desk.faults.negative_prompt);
  return (
    <Field label="Negative prompt" error={fault} hint="What it shall not show.">
      {({ id, describedBy }) => (
        <TextArea
          id={id}
          rows={2}
          value={value}
          maxLength={most}
          aria-describedby={describedBy}
          aria-invalid={Boolean(fault)}
          onChange={(event) => change({ negativePrompt: event.target.value })}
        />
      )}
    </Field>
  );
}

/** Twice the longest preset is plenty for the hand; the number takes what the model takes. */
function Numbers({ offer }: { offer: Offer }) {
  const draft = useDesk((desk) => desk.draft);
  const faults = useDesk((desk) => desk.faults);
  const shown = shownOf(draft, offer);
  const takes = (name: string): boolean => offer.inputs.includes(name);
  const longest = Math.max(25, ...Object.values(offer.presets).map((preset) => preset.num_inference_steps ?? 0));
  return (
    <>
      {takes("num_inference_steps") ? (
        <Field label="Steps" error={faults.num_inference_steps}>
          {({ id, describedBy }) => (
            <Slider
              id={id}
              label="Steps"
              value={shown.steps}
              {...offer.steps}
              trackMax={Math.min(offer.steps.max, longest * 2)}
              step={1}
              describedBy={describedBy}
              onChange={(steps) => change({ steps: Math.round(steps) })}
            />
          )}
        </Field>
      ) : null}
      {takes("guidance_scale") ? (
        <Field label="Guidance" error={faults.guidance_scale} hint="How closely it follows the prompt.">
          {({ id, describedBy }) => (
            <Slider
              id={id}
              label="Guidance"
              value={shown.guidance}
              {...offer.guidance}
              trackMax={Math.min(offer.guidance.max, 15)}
              step={0.5}
              describedBy={describedBy}
              onChange={(guidance) => change({ guidance })}
            />
          )}
        </Field>
      ) : null}
      {offer.solvers.length > 1 ? (
        <Field label="Solver" error={faults.solver}>
          {({ id, describedBy }) => (
            <Select
              id={id}
              value={shown.solver}
              aria-describedby={describedBy}
              onChange={(event) => change({ solver: event.target.value })}
            >
              {offer.solvers.map((solver) => (
                <option key={solver}>{solver}</option>
              ))}
            </Select>
          )}
        </Field>
      ) : null}
    </>
  );
}

/** Videos and sounds have one format each. */
function Output({ hasFormat }: { hasFormat: boolean }) {
  const { format, isReproducible } = useDesk((desk) => desk.draft);
  const fault = useDesk((desk) => desk.faults["output.format"]);
  return (
    <>
      {hasFormat ? (
        <div className={styles.line}>
          <span className={styles.label}>Format</span>
          <Segmented label="Format" value={format} options={FORMATS} onChange={(said) => change({ format: said })} />
        </div>
      ) : null}
      <FieldFault>{fault}</FieldFault>
      <label className={styles.check}>
        <input
          type="checkbox"
          checked={isReproducible}
          onChange={(event) => change({ isReproducible: event.target.checked })}
        />
        <span>
          Reproducible
          <small>The same pixels in whatever company it runs; a little slower.</small>
        </span>
      </label>
    </>
  );
}

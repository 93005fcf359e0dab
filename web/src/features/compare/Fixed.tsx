import { Dices, RotateCcw } from "lucide-react";

import { AdapterWeights } from "@/components/AdapterWeights";
import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Slider } from "@/components/Slider";
import { Tip } from "@/components/Tip";
import { Input, Select, TextArea } from "@/components/inputs";
import type { Offer, Range } from "@/lib/offer";
import { randomSeed } from "@/lib/random";

import { faultOf } from "./axis";
import { changeSettings, useDesk } from "./desk";
import styles from "./Fixed.module.css";
import { axesOf, isVaried, valueText } from "./grid";

/** What stays the same in all cells; what varies is not in here. */
export function Fixed({ offer }: { offer: Offer }) {
  const plan = useDesk((desk) => desk.plan);
  const { settings } = plan;
  const preset = offer.presets[settings.preset ?? offer.defaultPreset];
  const ownHint = isVaried(plan, "preset") ? "Each preset has its own, unless you set one." : undefined;
  const longest = Math.max(25, ...Object.values(offer.presets).map((one) => one.num_inference_steps ?? 0));
  return (
    <div className={styles.fixed}>
      {isVaried(plan, "preset") ? null : (
        <Choice
          label="Preset"
          value={settings.preset ?? offer.defaultPreset}
          options={Object.keys(offer.presets)}
          onChange={(said) => changeSettings({ preset: said, steps: null, guidance: null, solver: null })}
        />
      )}
      {isVaried(plan, "steps") ? null : (
        <Amount
          label="Steps"
          value={settings.steps}
          usual={preset?.num_inference_steps ?? 25}
          range={offer.steps}
          trackMax={Math.min(offer.steps.max, longest * 2)}
          step={1}
          hint={ownHint}
          onChange={(said) => changeSettings({ steps: said === null ? null : Math.round(said) })}
        />
      )}
      {isVaried(plan, "guidance") ? null : (
        <Amount
          label="Guidance"
          value={settings.guidance}
          usual={preset?.guidance_scale ?? 7.5}
          range={offer.guidance}
          trackMax={Math.min(offer.guidance.max, 15)}
          step={0.5}
          hint={ownHint}
          onChange={(guidance) => changeSettings({ guidance })}
        />
      )}
      {isVaried(plan, "solver") || offer.solvers.length < 2 ? null : (
        <Choice
          label="Solver"
          value={settings.solver ?? preset?.solver ?? ""}
          options={offer.solvers}
          onChange={(solver) => changeSettings({ solver })}
        />
      )}
      {isVaried(plan, "size") ? null : <Size offer={offer} />}
      {isVaried(plan, "seed") ? null : <Seed offer={offer} />}
      {isVaried(plan, "negative") ? null : (
        <Field label="Negative prompt" hint="What they shall not show.">
          {({ id, describedBy }) => (
            <TextArea
              id={id}
              rows={2}
              value={settings.negative}
              maxLength={offer.promptLength}
              aria-describedby={describedBy}
              onChange={(event) => changeSettings({ negative: event.target.value })}
            />
          )}
        </Field>
      )}
      <Adapters offer={offer} />
    </div>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: readonly string[];
  onChange: (value: string) => void;
}

/** A value that is not among the options, such as another model's, stands until it is changed. */
function Choice({ label, value, options, onChange }: ChoiceProps) {
  if (options.length === 0) return null;
  return (
    <Field label={label} error={options.includes(value) ? undefined : "The model does not have it."}>
      {({ id, describedBy }) => (
        <Select id={id} value={value} aria-describedby={describedBy} onChange={(event) => onChange(event.target.value)}>
          {options.includes(value) ? null : <option value={value}>{value}</option>}
          {options.map((option) => (
            <option key={option}>{option}</option>
          ))}
        </Select>
      )}
    </Field>
  );
}

interface AmountProps {
  label: string;
  /** Null: as the preset has it, which is `usual`. */
  value: number | null;
  usual: number;
  range: Range;
  trackMax: number;
  step: number;
  /** While it is as the preset has it. */
  hint: string | undefined;
  onChange: (value: number | null) => void;
}

function Amount({ label, value, usual, range, trackMax, step, hint, onChange }: AmountProps) {
  const reset = (
    <Button look="ghost" size="small" icon={<RotateCcw />} onClick={() => onChange(null)}>
      As the preset
    </Button>
  );
  return (
    <Field label={label} hint={value === null ? hint : undefined} aside={value === null ? null : reset}>
      {({ id, describedBy }) => (
        <Slider
          id={id}
          label={label}
          value={value ?? usual}
          {...range}
          trackMax={trackMax}
          step={step}
          describedBy={describedBy}
          onChange={onChange}
        />
      )}
    </Field>
  );
}

function Size({ offer }: { offer: Offer }) {
  const size = useDesk((desk) => desk.plan.settings.size);
  const usual = offer.defaultSize.join("x");
  if (offer.sizes.length === 0)
    return (
      <Field label="Size" error={(size && faultOf("size", size, offer)) || undefined} hint={`Such as ${usual}.`}>
        {({ id, describedBy }) => (
          <Input
            id={id}
            value={size ?? ""}
            placeholder={usual}
            aria-describedby={describedBy}
            onChange={(event) => changeSettings({ size: event.target.value.trim() || null })}
          />
        )}
      </Field>
    );
  const fault = size ? faultOf("size", size, offer) : null;
  return (
    <Field label="Size" error={fault ?? undefined}>
      {({ id, describedBy }) => (
        <Select
          id={id}
          value={size ?? usual}
          aria-describedby={describedBy}
          onChange={(event) => changeSettings({ size: event.target.value })}
        >
          {size && fault ? <option value={size}>{size}</option> : null}
          {offer.sizes.map((one) => (
            <option key={one.join("x")} value={one.join("x")}>
              {valueText("size", one.join("x"))}
            </option>
          ))}
        </Select>
      )}
    </Field>
  );
}

function Seed({ offer }: { offer: Offer }) {
  const seed = useDesk((desk) => desk.plan.settings.seed);
  return (
    <Field label="Seed" hint="The same for all, so that only what varies makes the difference.">
      {({ id, describedBy }) => (
        <div className={styles.seed}>
          <Input
            id={id}
            inputMode="numeric"
            value={seed}
            aria-describedby={describedBy}
            onChange={(event) => {
              const said = Number(event.target.value.trim());
              if (faultOf("seed", said, offer) === null) changeSettings({ seed: said });
            }}
          />
          <Tip text="Draw another seed">
            <Button
              aria-label="Draw another seed"
              icon={<Dices />}
              onClick={() => changeSettings({ seed: randomSeed() })}
            />
          </Tip>
        </div>
      )}
    </Field>
  );
}

/** The model's adapters, each with its weight; the one whose weight varies is not among them. */
function Adapters({ offer }: { offer: Offer }) {
  const plan = useDesk((desk) => desk.plan);
  const varied = axesOf(plan).flatMap((axis) => (axis.kind === "adapter" ? [axis.adapter] : []));
  const weights = Object.entries(plan.settings.adapters).filter(([name]) => !varied.includes(name));
  const others = offer.adapters.filter((name) => !varied.includes(name) && !(name in plan.settings.adapters));
  const isFull = weights.length + varied.length >= offer.maxAdapters;
  const weigh = (name: string, weight: number | null): void => {
    const kept = Object.entries(plan.settings.adapters).filter(([one]) => one !== name || weight !== null);
    changeSettings({ adapters: { ...Object.fromEntries(kept), ...(weight === null ? {} : { [name]: weight }) } });
  };
  if (offer.adapters.length === 0) return null;
  return <AdapterWeights weights={weights} others={others} isFull={isFull} onWeigh={weigh} />;
}

import { type KeyboardEvent, type ReactNode, useId, useState } from "react";
import { X } from "lucide-react";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Input, Select, TextArea } from "@/components/inputs";
import type { Offer } from "@/lib/offer";

import styles from "./AxisField.module.css";
import { added, beginning, entryOf, faultOf, toggled, without } from "./axis";
import { type Axis, KINDS, type Kind, type Value, titleOf, valueText } from "./grid";

interface Props {
  label: "Across" | "Down";
  axis: Axis | null;
  /** The other one, which has another kind. */
  other: Axis | null;
  offer: Offer;
  models: readonly string[];
  /** Whether there is a picture to start from, which can be left more or less. */
  isFromPicture: boolean;
  onChange: (axis: Axis | null) => void;
}

/** What goes one way through the grid: which setting, and its values. */
export function AxisField({ label, axis, other, offer, models, isFromPicture, onChange }: Props) {
  const choose = (name: string): void => {
    const [kind, adapter = ""] = name.split(":") as [Kind | "", string?];
    onChange(kind ? beginning(kind, adapter, offer, models) : null);
  };
  const options = optionsOf(offer, models, isFromPicture || axis?.kind === "strength");
  return (
    <div className={styles.axis} role="group" aria-label={label}>
      <Field label={label}>
        {({ id }) => (
          <Select id={id} value={axis ? optionOf(axis) : ""} onChange={(event) => choose(event.target.value)}>
            <option value="">Nothing</option>
            {options.map((option) => (
              <option key={optionOf(option)} value={optionOf(option)} disabled={isSame(option, other)}>
                {titleOf(option)}
              </option>
            ))}
          </Select>
        )}
      </Field>
      {axis ? <Values key={optionOf(axis)} axis={axis} offer={offer} models={models} onChange={onChange} /> : null}
    </div>
  );
}

const optionOf = ({ kind, adapter }: Pick<Axis, "kind" | "adapter">): string => (adapter ? `${kind}:${adapter}` : kind);

const isSame = (option: Axis, other: Axis | null): boolean => other !== null && optionOf(option) === optionOf(other);

/** What can be varied with these models. */
function optionsOf(offer: Offer, models: readonly string[], hasStrength: boolean): Axis[] {
  const axis = (kind: Kind, adapter = ""): Axis => ({ kind, adapter, values: [] });
  const enough: Partial<Record<Kind, boolean>> = {
    model: models.length > 1,
    preset: Object.keys(offer.presets).length > 1,
    solver: offer.solvers.length > 1,
    strength: hasStrength,
  };
  return KINDS.flatMap((kind) => {
    if (kind === "adapter") return offer.adapters.map((name) => axis(kind, name));
    return (enough[kind] ?? true) ? [axis(kind)] : [];
  });
}

interface ValuesProps {
  axis: Axis;
  offer: Offer;
  models: readonly string[];
  onChange: (axis: Axis) => void;
}

function Values(props: ValuesProps) {
  const choices = choicesOf(props.axis.kind, props.offer, props.models);
  return choices ? <Choices {...props} choices={choices} /> : <Written {...props} />;
}

/** What there is to choose from; null where values are written. */
function choicesOf(kind: Kind, offer: Offer, models: readonly string[]): readonly Value[] | null {
  if (kind === "model") return models;
  if (kind === "preset") return Object.keys(offer.presets);
  if (kind === "solver") return offer.solvers;
  return kind === "size" && offer.sizes.length ? offer.sizes.map((size) => size.join("x")) : null;
}

function Choices({ axis, choices, onChange }: ValuesProps & { choices: readonly Value[] }) {
  return (
    <div className={styles.chips}>
      {choices.map((value) => (
        <button
          key={value}
          type="button"
          className={styles.choice}
          aria-pressed={axis.values.includes(value)}
          onClick={() => onChange(toggled(axis, value, choices))}
        >
          {valueText(axis.kind, value)}
        </button>
      ))}
    </div>
  );
}

const HINTS = {
  numbers: "A list, or a range such as 4..20:4.",
  lines: "One a line. Enter adds it.",
  sizes: "Such as 512x512, 768x512.",
  choices: "",
};

function Written({ axis, offer, onChange }: ValuesProps) {
  const [text, setText] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const noteId = useId();
  const entry = entryOf(axis.kind);
  const name = `${titleOf(axis)}: more values`;
  const add = (): void => {
    if (!text.trim()) return;
    const after = added(axis, text, offer);
    setFault(after.fault);
    setText("");
    if (after.axis.values.length > axis.values.length) onChange(after.axis);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    add();
  };
  const parts = {
    "aria-label": name,
    "aria-describedby": noteId,
    "aria-invalid": fault !== null,
    value: text,
    onKeyDown: press,
    onBlur: add,
  };
  return (
    <div className={styles.values}>
      <Chips axis={axis} offer={offer} onRemove={(value) => onChange(without(axis, value))} />
      <div className={styles.add}>
        {entry === "lines" ? (
          <TextArea {...parts} rows={2} placeholder="Another" onChange={(event) => setText(event.target.value)} />
        ) : (
          <Input
            {...parts}
            placeholder={entry === "sizes" ? "512x512" : "8, 12 or 4..20:4"}
            autoComplete="off"
            onChange={(event) => setText(event.target.value)}
          />
        )}
      </div>
      {axis.kind === "negative" && !axis.values.includes("") ? (
        <Button size="small" look="ghost" onClick={() => onChange({ ...axis, values: ["", ...axis.values] })}>
          With none, too
        </Button>
      ) : null}
      <p id={noteId} className={fault ? styles.fault : styles.hint} role={fault ? "alert" : undefined}>
        {fault ?? HINTS[entry]}
      </p>
    </div>
  );
}

function Chips({ axis, offer, onRemove }: { axis: Axis; offer: Offer; onRemove: (value: Value) => void }) {
  if (axis.values.length === 0) return null;
  return (
    <ul className={styles.chips} data-long={entryOf(axis.kind) === "lines" || undefined} aria-label="Values">
      {axis.values.map((value) => {
        const text = valueText(axis.kind, value);
        return (
          <Chip key={value} text={text} fault={faultOf(axis.kind, value, offer)} onRemove={() => onRemove(value)} />
        );
      })}
    </ul>
  );
}

function Chip({ text, fault, onRemove }: { text: string; fault: string | null; onRemove: () => void }): ReactNode {
  return (
    <li className={styles.chip} data-wrong={fault ? true : undefined} title={fault ?? undefined}>
      <span>{text}</span>
      <button type="button" aria-label={`Without ${text}`} onClick={onRemove}>
        <X aria-hidden />
      </button>
    </li>
  );
}

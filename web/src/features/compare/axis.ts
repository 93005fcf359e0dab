/** Values of an axis, as people write them: lists, ranges such as `4..20:4`, lines of text; checked against a model. */

import { type Offer, isOffered } from "@/lib/offer";

import { type Axis, type Kind, MOST, type Value, sizeOf } from "./grid";

export type Entry = "numbers" | "lines" | "choices" | "sizes";

const NUMBERS: ReadonlySet<Kind> = new Set(["steps", "guidance", "strength", "seed", "adapter"]);

/** How values of that kind are put in. */
export function entryOf(kind: Kind): Entry {
  if (NUMBERS.has(kind)) return "numbers";
  if (kind === "prompt" || kind === "negative") return "lines";
  return kind === "size" ? "sizes" : "choices";
}

const NUMBER = /^-?(?:\d+\.?\d*|\.\d+)$/;
const RANGE = /^(-?(?:\d+(?:\.\d+)?|\.\d+))\.\.(-?(?:\d+(?:\.\d+)?|\.\d+))(?::(\d+(?:\.\d+)?|\.\d+))?$/;

export interface Read {
  values: Value[];
  /** The words that are no value. */
  wrong: string[];
}

/** `4, 8 12`, `4..20:4` (the step is 1 unless said), `20..4:4`. */
export function readNumbers(text: string): Read {
  const read: Read = { values: [], wrong: [] };
  for (const word of text.split(/[\s,;]+/).filter(Boolean)) {
    const range = RANGE.exec(word);
    const found = range ? rangeOf(Number(range[1]), Number(range[2]), Number(range[3] ?? 1)) : numberOf(word);
    if (found) read.values.push(...found);
    else read.wrong.push(word);
  }
  return read;
}

const numberOf = (word: string): number[] | null => (NUMBER.test(word) ? [Number(word)] : null);

/** Null for steps of nothing, and for far more values than an axis takes. */
function rangeOf(first: number, last: number, step: number): number[] | null {
  const count = step > 0 ? Math.floor(Math.abs(last - first) / step + 1e-9) + 1 : Infinity;
  if (count > 4 * MOST) return null;
  const by = last < first ? -step : step;
  return Array.from({ length: count }, (_, at) => Number((first + at * by).toPrecision(12)));
}

/** `256x256, 320 x 192`. */
export function readSizes(text: string): Read {
  const read: Read = { values: [], wrong: [] };
  for (const word of text.replaceAll(/\s*[x×]\s*/gi, "x").split(/[\s,;]+/)) {
    if (!word) continue;
    const size = sizeOf(word);
    if (size) read.values.push(size.join("x"));
    else read.wrong.push(word);
  }
  return read;
}

/** Each line one value: prompts have commas of their own. */
export const readLines = (text: string): Read => ({
  values: text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean),
  wrong: [],
});

const READERS = { numbers: readNumbers, sizes: readSizes, lines: readLines, choices: readLines };

/** Add what was written to an axis; `fault` says in words why something of it was left out. */
export function added(axis: Axis, text: string, offer: Offer | null): { axis: Axis; fault: string | null } {
  const { values, wrong } = READERS[entryOf(axis.kind)](text);
  const faults = wrong.length ? [`“${wrong[0]}” is no ${axis.kind === "size" ? "size" : "number or range"}.`] : [];
  const right = values.filter((value) => {
    const fault = offer ? faultOf(axis.kind, value, offer) : null;
    if (fault) faults.push(fault);
    return fault === null;
  });
  const all = joined(axis.values, [...new Set(right)]);
  if (all.length > MOST) faults.push(`At most ${MOST} values; the rest was left out.`);
  return { axis: { ...axis, values: all.slice(0, MOST) }, fault: faults[0] ?? null };
}

/** Numbers that stand in order stay in order; else what is new comes last. */
function joined(before: readonly Value[], fresh: readonly Value[]): Value[] {
  const all = [...before, ...fresh.filter((value) => !before.includes(value))];
  const isRising = (values: readonly Value[]): boolean =>
    values.every((value, at) => typeof value === "number" && (at === 0 || value > Number(values[at - 1])));
  return before.length > 1 && isRising(before) ? all.sort((one, other) => Number(one) - Number(other)) : all;
}

/** Why the model does not take that value; null where it does. */
export function faultOf(kind: Kind, value: Value, offer: Offer): string | null {
  switch (kind) {
    case "steps":
      return within(value, offer.steps, "Steps") ?? (Number.isInteger(value) ? null : "Steps are whole numbers.");
    case "guidance":
      return within(value, offer.guidance, "Guidance");
    case "strength":
      return within(value, offer.strength, "Strength");
    case "adapter":
      return within(value, { min: -100, max: 100 }, "A weight");
    case "seed":
      return Number.isSafeInteger(value) && Number(value) >= 0
        ? null
        : `Seeds go from 0 to ${Number.MAX_SAFE_INTEGER}.`;
    case "size":
      return sizeFault(String(value), offer);
    case "prompt":
    case "negative":
      return String(value).length > offer.promptLength ? `At most ${offer.promptLength} characters.` : null;
    case "preset":
      return String(value) in offer.presets ? null : `${offer.model} has no preset ${value}.`;
    case "solver":
      return offer.solvers.includes(String(value)) ? null : `${offer.model} has no solver ${value}.`;
    case "model":
      return null;
  }
}

function within(value: Value, { min, max }: { min: number; max: number }, what: string): string | null {
  return typeof value === "number" && value >= min && value <= max ? null : `${what}: from ${min} to ${max}.`;
}

function sizeFault(value: string, offer: Offer): string | null {
  const size = sizeOf(value);
  if (size && isOffered(size, offer)) return null;
  const { min, max } = offer.sides;
  return offer.sizes.length
    ? `${offer.model} does not make ${value}.`
    : `Sides go from ${min} to ${max}, in steps of ${offer.multiple}.`;
}

export const without = (axis: Axis, value: Value): Axis => ({
  ...axis,
  values: axis.values.filter((one) => one !== value),
});

/** Put a choice on, or take it off; in the order in which they are offered. */
export function toggled(axis: Axis, value: Value, order: readonly Value[]): Axis {
  if (axis.values.includes(value)) return without(axis, value);
  if (axis.values.length >= MOST) return axis;
  const chosen = [...axis.values, value];
  return { ...axis, values: chosen.sort((one, other) => order.indexOf(one) - order.indexOf(other)) };
}

/** What an axis of that kind can begin with. */
export function beginning(kind: Kind, adapter: string, offer: Offer | null, models: readonly string[]): Axis {
  const values: Readonly<Record<Kind, readonly Value[]>> = {
    prompt: [],
    model: models.slice(0, MOST),
    preset: Object.keys(offer?.presets ?? {}).slice(0, MOST),
    steps: [5, 10, 20],
    guidance: [2, 4, 7],
    strength: [0.3, 0.5, 0.7],
    solver: offer?.solvers.slice(0, 3) ?? [],
    seed: [1, 2, 3],
    size: offer?.sizes.slice(0, 3).map((size) => size.join("x")) ?? [],
    adapter: [0, 0.5, 1],
    negative: [""],
  };
  return { kind, adapter: kind === "adapter" ? adapter : "", values: values[kind] };
}

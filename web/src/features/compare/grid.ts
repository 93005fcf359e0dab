/** A grid: what goes across, what goes down, what stays; and the job of each of its cells. No browser in here. */

import type { JobBody, JobInput } from "@/lib/jobs";
import type { Size } from "@/lib/offer";
import type { Pictures } from "@/lib/pictures";
import { randomKey, randomSeed } from "@/lib/random";

import { type Wanted, namesOf } from "./given";

export const KINDS = [
  "prompt",
  "model",
  "preset",
  "steps",
  "guidance",
  "strength",
  "solver",
  "seed",
  "size",
  "adapter",
  "negative",
] as const;
export type Kind = (typeof KINDS)[number];

/** Numbers for steps, guidance, strengths, seeds and weights; sizes as "256x192"; else text. */
export type Value = string | number;

export interface Axis {
  kind: Kind;
  /** Whose weight it is, where `kind` is adapter. */
  adapter: string;
  values: readonly Value[];
}

/** Null: as the preset, or the model, has it. */
export interface Settings extends Wanted {
  model: string;
  prompt: string;
  negative: string;
  preset: string | null;
  steps: number | null;
  guidance: number | null;
  solver: string | null;
  size: string | null;
  seed: number;
  adapters: Readonly<Record<string, number>>;
}

export interface Plan {
  id: string;
  settings: Settings;
  across: Axis | null;
  down: Axis | null;
}

export interface Cell {
  x: number;
  y: number;
  settings: Settings;
  body: JobBody;
  /** All that the picture depends on: cells with the same key are the same picture. */
  key: string;
}

export const MOST = 8; // values on an axis

export const EMPTY: Settings = {
  model: "",
  prompt: "",
  negative: "",
  preset: null,
  steps: null,
  guidance: null,
  solver: null,
  size: null,
  seed: 0,
  adapters: {},
  start: null,
  control: null,
};

export const axisOf = (kind: Kind, values: readonly Value[] = [], adapter = ""): Axis => ({ kind, adapter, values });

/** A grid to begin with: it lacks a prompt only. */
export const newPlan = (): Plan => ({
  id: randomKey().slice(0, 16),
  settings: { ...EMPTY, seed: randomSeed() },
  across: axisOf("steps", [5, 10, 20]),
  down: axisOf("guidance", [2, 4, 7]),
});

export const axesOf = ({ across, down }: Plan): Axis[] => [across, down].filter((axis) => axis !== null);

export const isVaried = (plan: Plan, kind: Kind): boolean => axesOf(plan).some((axis) => axis.kind === kind);

/** The settings with one value of an axis put in. */
export function applied(settings: Settings, axis: Axis | null, value: Value | undefined): Settings {
  if (!axis || value === undefined) return settings;
  if (axis.kind === "adapter")
    return { ...settings, adapters: { ...settings.adapters, [axis.adapter]: Number(value) } };
  if (axis.kind === "strength")
    return settings.start ? { ...settings, start: { ...settings.start, strength: Number(value) } } : settings;
  return { ...settings, [axis.kind]: value };
}

/** All cells, row by row; an axis that is not there counts as one value, one without values as none. */
export function cellsOf(plan: Plan): Cell[] {
  return slotsOf(plan.down).flatMap((down, y) =>
    slotsOf(plan.across).map((across, x) => {
      const settings = applied(applied(plan.settings, plan.down, down), plan.across, across);
      const body = bodyOf(settings);
      return { x, y, settings, body, key: JSON.stringify(body) };
    }),
  );
}

export const slotsOf = (axis: Axis | null): readonly (Value | undefined)[] => (axis ? axis.values : [undefined]);

export const columnsOf = (plan: Plan): number => slotsOf(plan.across).length;

/** The job of a cell. What the settings leave to the preset is left to it; pictures that were not sent up have names. */
export function bodyOf(settings: Settings, pictures: Pictures = namesOf(settings)): JobBody {
  const size = sizeOf(settings.size);
  const input: JobInput = {
    prompt: settings.prompt.trim(),
    ...(settings.negative.trim() ? { negative_prompt: settings.negative.trim() } : {}),
    ...(settings.preset === null ? {} : { preset: settings.preset }),
    ...(settings.steps === null ? {} : { num_inference_steps: settings.steps }),
    ...(settings.guidance === null ? {} : { guidance_scale: settings.guidance }),
    ...(settings.solver === null ? {} : { solver: settings.solver }),
    ...(size ? { width: size[0], height: size[1] } : {}),
    seed: settings.seed,
    ...(Object.keys(settings.adapters).length ? { adapters: sorted(settings.adapters) } : {}),
    ...pictures,
    ...(settings.start ? { strength: settings.start.strength } : {}),
    ...(settings.control ? { controlnet_conditioning_scale: settings.control.scale } : {}),
  };
  return settings.model ? { model: settings.model, input } : { input };
}

const sorted = (weights: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(weights).sort(([one], [other]) => (one < other ? -1 : 1)));

/** "256x192" as numbers; null for what is no size. */
export function sizeOf(text: string | null): Size | null {
  const said = /^(\d{1,5})\s*[x×]\s*(\d{1,5})$/i.exec(text ?? "");
  return said ? [Number(said[1]), Number(said[2])] : null;
}

/** The size at which the grid's pictures are shown: of several the first. */
export function shownSize(plan: Plan, usual: Size): Size {
  const varied = axesOf(plan).find((axis) => axis.kind === "size")?.values[0];
  return sizeOf(varied === undefined ? plan.settings.size : String(varied)) ?? usual;
}

const NAMES: Readonly<Record<Kind, string>> = {
  model: "Model",
  prompt: "Prompt",
  preset: "Preset",
  steps: "Steps",
  guidance: "Guidance",
  strength: "Strength",
  solver: "Solver",
  seed: "Seed",
  size: "Size",
  adapter: "Adapter's weight",
  negative: "Negative prompt",
};

export const nameOf = (kind: Kind): string => NAMES[kind];

/** What the axis is, for its head: an adapter by its name. */
export const titleOf = (axis: Axis): string =>
  axis.kind === "adapter" ? `Weight of ${axis.adapter}` : nameOf(axis.kind);

export function valueText(kind: Kind, value: Value): string {
  if (kind === "negative" && value === "") return "none";
  return kind === "size" ? String(value).replace("x", " × ") : String(value);
}

/** A cell in words: "Steps 8, Guidance 4". */
export function cellText(plan: Plan, { x, y }: Pick<Cell, "x" | "y">): string {
  const at = (axis: Axis | null, index: number): string => {
    const value = axis?.values[index];
    return axis && value !== undefined ? `${titleOf(axis)} ${valueText(axis.kind, value)}` : "";
  };
  return [at(plan.across, x), at(plan.down, y)].filter(Boolean).join(", ") || plan.settings.prompt;
}

/** What stays the same in all cells, in words. */
export function fixedText(plan: Plan): string {
  const { settings } = plan;
  const facts: [Kind, string | null][] = [
    ["prompt", settings.prompt.trim()],
    ["negative", settings.negative.trim() && `without ${settings.negative.trim()}`],
    ["model", settings.model],
    ["preset", settings.preset && `preset ${settings.preset}`],
    ["steps", settings.steps === null ? null : `${settings.steps} steps`],
    ["guidance", settings.guidance === null ? null : `guidance ${settings.guidance}`],
    ["solver", settings.solver],
    ["size", settings.size && valueText("size", settings.size)],
    ["seed", `seed ${settings.seed}`],
    ["strength", settings.start && `strength ${settings.start.strength}`],
  ];
  const varied = axesOf(plan);
  const weights = Object.entries(settings.adapters)
    .filter(([name]) => !varied.some((axis) => axis.kind === "adapter" && axis.adapter === name))
    .map(([name, weight]) => `${name} ${weight}`);
  const from = settings.start && (settings.start.mask ? "a part of a picture painted anew" : "from a picture");
  const said = facts.filter(([kind, text]) => text && !isVaried(plan, kind)).map(([, text]) => text);
  return [...said, from, settings.control && "after a control image", ...weights].filter(Boolean).join(" · ");
}

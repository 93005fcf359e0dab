/** What a model takes, read from its own input schema. */

import type { OneModel } from "./api/client";

export type Size = readonly [number, number];

export interface Range {
  min: number;
  max: number;
}

export interface Preset {
  num_inference_steps: number | null;
  guidance_scale: number | null;
  solver: string | null;
  adapters: Readonly<Record<string, number>>;
}

export interface Offer {
  model: string;
  presets: Readonly<Record<string, Preset>>;
  defaultPreset: string;
  solvers: readonly string[];
  adapters: readonly string[];
  maxAdapters: number;
  /** Empty where the model takes every size within `sides` that is a multiple of `multiple`. */
  sizes: readonly Size[];
  defaultSize: Size;
  sides: Range;
  multiple: number;
  steps: Range;
  guidance: Range;
  images: Range;
  strength: Range;
  promptLength: number;
  makesPictures: boolean;
  /** Of what is heard there is no size. */
  hasSize: boolean;
  takesImage: boolean;
  takesMask: boolean;
  /** How closely a control image is followed; null where the model takes none. */
  controlScale: Range | null;
  /** The names of all its inputs; nothing else may be sent. */
  inputs: readonly string[];
  /** Those of a plain pipeline that no other model has. */
  own: readonly OwnInput[];
}

/** An input as its schema describes it; `usual` is its default in words, "" where it has none. */
export interface OwnInput {
  name: string;
  kind: "string" | "integer" | "number" | "boolean";
  choices: readonly string[];
  min: number | null;
  max: number | null;
  usual: string;
  description: string;
}

interface FieldSchema {
  minimum?: number;
  maximum?: number;
  multipleOf?: number;
  maxLength?: number;
  maxProperties?: number;
  properties?: Record<string, unknown>;
  type?: string;
  enum?: readonly unknown[];
  default?: unknown;
  description?: string;
}

/** The inputs that have a control of their own. */
export const KNOWN: ReadonlySet<string> = new Set([
  ...["prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "width", "height", "seed", "preset"],
  ...["num_images_per_prompt", "solver", "image", "mask_image", "strength", "control_image", "reproducible"],
  ...["controlnet_conditioning_scale", "adapters", "adapter_digests"],
]);
const KINDS = ["integer", "number", "boolean"] as const;
export const PLAIN = "pipeline"; // the task of a plain pipeline

/** Whether the model makes pictures of that size. */
export function isOffered([width, height]: Size, offer: Pick<Offer, "sizes" | "sides" | "multiple">): boolean {
  if (offer.sizes.length) return offer.sizes.some(([w, h]) => w === width && h === height);
  const { min, max } = offer.sides;
  return [width, height].every((side) => side >= min && side <= max && side % offer.multiple === 0);
}

/** As the client gives it; its types know pairs as lists. */
type Answer = Pick<OneModel, "id" | "input" | "presets" | "solvers" | "adapters" | "tasks"> & {
  sizes: readonly (readonly number[])[];
  default_size: readonly number[] | null;
};

export function offerOf(model: Answer): Offer {
  const fields = (model.input.properties ?? {}) as Record<string, FieldSchema>;
  const range = (name: string, min: number, max: number): Range => ({
    min: fields[name]?.minimum ?? min,
    max: fields[name]?.maximum ?? max,
  });
  const sides = range("width", 64, 2048);
  const isPlain = model.tasks.includes(PLAIN);
  const presets = Object.fromEntries(Object.entries(model.presets).map(([name, said]) => [name, presetOf(said)]));
  return {
    model: model.id,
    presets,
    defaultPreset: "quality" in presets ? "quality" : (Object.keys(presets)[0] ?? ""),
    solvers: model.solvers,
    adapters: model.adapters,
    maxAdapters: fields.adapters?.maxProperties ?? 8,
    sizes: model.sizes.map(pairOf),
    defaultSize: pairOf(model.default_size ?? model.sizes[0] ?? [512, 512]),
    sides: { min: Math.max(64, sides.min), max: Math.min(2048, sides.max) },
    multiple: fields.width?.multipleOf ?? 8,
    steps: range("num_inference_steps", 1, 1000),
    guidance: range("guidance_scale", 0, 50),
    images: range("num_images_per_prompt", 1, 16),
    strength: range("strength", 0, 1),
    promptLength: fields.prompt?.maxLength ?? 2000,
    takesImage: isPlain ? "image" in fields : model.tasks.includes("image-to-image"),
    takesMask: isPlain ? "mask_image" in fields : model.tasks.includes("inpaint"),
    makesPictures: model.tasks.some((task) => isPlain || task === "inpaint" || task.endsWith("-image")),
    hasSize: "width" in fields,
    controlScale: "control_image" in fields ? range("controlnet_conditioning_scale", 0, 2) : null,
    inputs: Object.keys(fields),
    own: Object.entries(fields).flatMap(([name, said]) => (KNOWN.has(name) ? [] : [ownOf(name, said)])),
  };
}

function ownOf(name: string, said: FieldSchema): OwnInput {
  const kind = KINDS.find((one) => one === said.type) ?? "string";
  return {
    name,
    kind,
    choices: kind === "boolean" ? ["true", "false"] : (said.enum ?? []).map(String),
    min: said.minimum ?? null,
    max: said.maximum ?? null,
    usual:
      typeof said.default === "string" ? said.default : said.default === undefined ? "" : JSON.stringify(said.default),
    description: said.description ?? "",
  };
}

const pairOf = (size: readonly number[]): Size => [size[0] ?? 0, size[1] ?? 0];

function presetOf(said: OneModel["presets"][string]): Preset {
  return {
    num_inference_steps: said.num_inference_steps ?? null,
    guidance_scale: said.guidance_scale ?? null,
    solver: said.solver ?? null,
    adapters: said.adapters ?? {},
  };
}

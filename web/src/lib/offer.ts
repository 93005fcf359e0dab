/** What a model takes, read from its own input schema. */

import type { OneModel } from "./api/client";

export type Size = readonly [number, number];

export interface Range {
  min: number;
  max: number;
}

/** A number that only some models take: one slider, made from what the schema says of it. */
export interface Extra extends Range {
  /** As the API names it. */
  name: string;
  label: string;
  /** From `min` on, only multiples of it are taken. */
  step: number;
  /** What it is where nothing is said; null: nothing, so it can be left out. */
  usual: number | null;
  hint: string;
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
  /** What one of its results is called. */
  noun: "image" | "video" | "sound";
  /** Of what is heard there is no size. */
  hasSize: boolean;
  takesImage: boolean;
  takesMask: boolean;
  /** How closely a control image is followed; null where the model takes none. */
  controlScale: Range | null;
  /** How much a picture counts that prompts beside the words; null where the model has no eye for one. */
  imagePromptScale: Range | null;
  /** Pixels of the widest margin that can be painted around a picture; null where none can. */
  widestMargin: number | null;
  /** Numbers that this kind of model takes and others do not. */
  extras: readonly Extra[];
  /** The names of all its inputs; nothing else may be sent. */
  inputs: readonly string[];
  /** Those of a plain pipeline that no other model has, and what else can be chosen. */
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
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
  maxLength?: number;
  maxProperties?: number;
  properties?: Record<string, FieldSchema>;
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
/** Those that have one beside a picture, unless a plain pipeline takes them: there they mean what its function says. */
const WITH_PICTURES: ReadonlySet<string> = new Set(["ip_adapter_image", "ip_adapter_scale", "outpaint"]);
/** What the schema does not say of numbers that only some models take; others are called as the API calls them. */
const WORDS: Readonly<Record<string, { label: string; hint?: string; step?: number }>> = {
  num_frames: { label: "Frames" },
  frame_rate: { label: "Frames a second", hint: "", step: 1 },
  audio_end_in_s: { label: "Seconds", hint: "How long the sound is.", step: 0.1 },
  denoising_end: { label: "Refiner", hint: "The share of the steps after which it goes on." },
};
const KINDS = ["integer", "number", "boolean"] as const;
export const PLAIN = "pipeline"; // the task of a plain pipeline

/** Whether the model makes pictures of that size. */
export function isOffered([width, height]: Size, offer: Pick<Offer, "sizes" | "sides" | "multiple">): boolean {
  if (offer.sizes.length) return offer.sizes.some(([w, h]) => w === width && h === height);
  const { min, max } = offer.sides;
  return [width, height].every((side) => side >= min && side <= max && side % offer.multiple === 0);
}

/** As the client gives it; its types know pairs as lists. */
type Answer = Pick<OneModel, "id" | "input" | "presets" | "solvers" | "adapters" | "tasks" | "layout"> & {
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
  const others = Object.entries(fields).filter(([name]) => !KNOWN.has(name) && (isPlain || !WITH_PICTURES.has(name)));
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
    noun: nounOf(model.tasks),
    hasSize: "width" in fields,
    controlScale: "control_image" in fields ? range("controlnet_conditioning_scale", 0, 2) : null,
    imagePromptScale: !isPlain && "ip_adapter_image" in fields ? range("ip_adapter_scale", 0, 2) : null,
    widestMargin: !isPlain && fields.outpaint ? (fields.outpaint.properties?.left?.maximum ?? 2048) : null,
    extras: isPlain ? [] : others.flatMap(([name, said]) => extraOf(name, said, model.layout)),
    inputs: Object.keys(fields),
    own: others.filter(([, said]) => isPlain || isChoice(said)).map(([name, said]) => ownOf(name, said)),
  };
}

function nounOf(tasks: readonly string[]): Offer["noun"] {
  if (tasks.some((task) => task.endsWith("-video"))) return "video";
  return tasks.some((task) => task.endsWith("-audio")) ? "sound" : "image";
}

/** Of other models a text that is free would be a picture's name. */
const isChoice = (said: FieldSchema): boolean => said.type === "boolean" || Boolean(said.enum);

/** A slider for a number that has bounds; nothing for what is none. */
function extraOf(name: string, said: FieldSchema, layout: OneModel["layout"]): Extra[] {
  const { label, hint, step: usualStep } = WORDS[name] ?? { label: labelOf(name) };
  const apart = name === "num_frames" ? layout?.frame_step : null; // one more than a multiple of it
  const isNumber = said.type === "integer" || said.type === "number";
  const step = typeof apart === "number" && apart > 0 ? apart : (usualStep ?? (said.type === "integer" ? 1 : 0.01));
  const min = said.minimum ?? (said.exclusiveMinimum === undefined ? null : said.exclusiveMinimum + step);
  const max = said.maximum ?? (said.exclusiveMaximum === undefined ? null : said.exclusiveMaximum - step);
  if (!isNumber || said.enum || min === null || max === null) return [];
  const usual = typeof said.default === "number" ? hundredths(said.default) : null;
  return [{ name, label, step, min, max: hundredths(max), usual, hint: hint ?? said.description ?? "" }];
}

/** A model's longest sound is a count of samples; what is shown of it must not be longer. */
const hundredths = (value: number): number => Math.floor(value * 100 + 1e-6) / 100;

/** What the API calls a field, for people. */
export function labelOf(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
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

/** What is being composed, and how it becomes a job's input and comes back from one. No browser in here. */

import type { Format, JobBody, JobInput } from "@/lib/jobs";
import { type Margins, NO_MARGINS, hasMargins, innerOf, marginsOf } from "@/lib/margins";
import { type Offer, type OwnInput, type Preset, type Size, isOffered } from "@/lib/offer";
import type { Pictures } from "@/lib/pictures";

import { type Extras, extrasFrom, extrasInput } from "./extras";

export interface Draft {
  model: string | null;
  prompt: string;
  negativePrompt: string;
  /** Null: the model's own default. */
  preset: string | null;
  /** What differs from the preset. */
  steps: number | null;
  guidance: number | null;
  solver: string | null;
  /** Weights beside those of the preset; null takes one of the preset's away. */
  adapters: Record<string, number | null>;
  size: Size | null;
  /** Digits; it is used while locked, else a fresh one is drawn for each job. */
  seed: string;
  isSeedLocked: boolean;
  images: number;
  format: Format;
  isReproducible: boolean;
  strength: number;
  controlScale: number;
  imagePromptScale: number;
  /** Painted around the picture that it starts from. */
  margins: Margins;
  /** Numbers that only some models take. */
  extras: Extras;
  /** What plain pipelines take of their own, as it was written; "" is what it usually is. */
  own: Record<string, string>;
}

export const EMPTY: Draft = {
  model: null,
  prompt: "",
  negativePrompt: "",
  preset: null,
  steps: null,
  guidance: null,
  solver: null,
  adapters: {},
  size: null,
  seed: "",
  isSeedLocked: false,
  images: 1,
  format: "png",
  isReproducible: false,
  strength: 0.7,
  controlScale: 1,
  imagePromptScale: 1,
  margins: NO_MARGINS,
  extras: {},
  own: {},
};

const NO_PRESET: Preset = { num_inference_steps: null, guidance_scale: null, solver: null, adapters: {} };

export const presetNameOf = (draft: Draft, offer: Offer): string =>
  draft.preset !== null && draft.preset in offer.presets ? draft.preset : offer.defaultPreset;

const presetOf = (draft: Draft, offer: Offer): Preset => offer.presets[presetNameOf(draft, offer)] ?? NO_PRESET;

/** What the controls show: the preset's values, and over them what was changed. */
export function shownOf(draft: Draft, offer: Offer) {
  const preset = presetOf(draft, offer);
  const solver = draft.solver !== null && offer.solvers.includes(draft.solver) ? draft.solver : preset.solver;
  return {
    steps: draft.steps ?? preset.num_inference_steps ?? 25,
    guidance: draft.guidance ?? preset.guidance_scale ?? 7.5,
    solver: solver ?? offer.solvers[0] ?? "",
    size: sizeOf(draft, offer),
    adapters: adaptersOf(draft, offer),
    isChanged: draft.steps !== null || draft.guidance !== null || draft.solver !== null,
  };
}

/** The size that will be asked for: the chosen one where this model makes it. */
export function sizeOf(draft: Draft, offer: Offer): Size {
  return draft.size && isOffered(draft.size, offer) ? draft.size : offer.defaultSize;
}

/** The margins that will be painted: a mask says for itself what is. */
export const marginsShown = (draft: Draft, offer: Offer, isMasked: boolean): Margins =>
  offer.widestMargin === null || isMasked ? NO_MARGINS : draft.margins;

/** The size of the picture to start from: what its margins leave of the canvas. */
export const startSizeOf = (draft: Draft, offer: Offer, isMasked: boolean): Size =>
  innerOf(sizeOf(draft, offer), marginsShown(draft, offer, isMasked));

/** Weights by name: the preset's, and what was added, changed or taken away. */
export function adaptersOf(draft: Draft, offer: Offer): Record<string, number> {
  const weights: Record<string, number> = { ...presetOf(draft, offer).adapters };
  for (const [name, weight] of Object.entries(draft.adapters)) {
    if (weight === null) delete weights[name];
    else if (offer.adapters.includes(name)) weights[name] = weight;
  }
  return weights;
}

/** Another preset: its values are shown, those changed before are let go; adapters that were added stay. */
export function withPreset(draft: Draft, preset: string): Draft {
  const added = Object.entries(draft.adapters).filter(([, weight]) => weight !== null);
  return { ...draft, preset, steps: null, guidance: null, solver: null, adapters: Object.fromEntries(added) };
}

export function withAdapter(draft: Draft, offer: Offer, name: string, weight: number | null): Draft {
  const others = Object.fromEntries(Object.entries(draft.adapters).filter(([one]) => one !== name));
  if (weight === null && !(name in presetOf(draft, offer).adapters)) return { ...draft, adapters: others };
  return { ...draft, adapters: { ...others, [name]: weight } };
}

/** The job that the draft asks for; what the preset says already is left to the preset. */
export function bodyOf(draft: Draft, offer: Offer, pictures: Pictures = {}): JobBody {
  const preset = presetOf(draft, offer);
  const name = presetNameOf(draft, offer);
  const [width, height] = sizeOf(draft, offer);
  const solver = draft.solver !== null && offer.solvers.includes(draft.solver) ? draft.solver : null;
  const seed = draft.isSeedLocked ? seedOf(draft.seed) : null;
  const margins = marginsShown(draft, offer, pictures.mask_image !== undefined);
  const input: JobInput = {
    prompt: draft.prompt.trim(),
    ...(draft.negativePrompt.trim() ? { negative_prompt: draft.negativePrompt.trim() } : {}),
    ...(name ? { preset: name } : {}),
    ...(draft.steps === null ? {} : { num_inference_steps: draft.steps }),
    ...(draft.guidance === null ? {} : { guidance_scale: draft.guidance }),
    ...(solver === null ? {} : { solver }),
    ...(offer.hasSize ? { width, height } : {}),
    ...(seed === null ? {} : { seed }),
    ...(draft.images > 1 ? { num_images_per_prompt: draft.images } : {}),
    ...(draft.isReproducible ? { reproducible: true } : {}),
    ...adapterInput(adaptersOf(draft, offer), preset),
    ...pictures,
    ...(pictures.image ? { strength: draft.strength } : {}),
    ...(pictures.control_image ? { controlnet_conditioning_scale: draft.controlScale } : {}),
    ...(pictures.ip_adapter_image ? { ip_adapter_scale: draft.imagePromptScale } : {}),
    ...(pictures.image && hasMargins(margins) ? { outpaint: margins } : {}),
    ...extrasInput(draft.extras, offer),
    ...ownInput(draft, offer),
  };
  return {
    model: offer.model,
    input: only(offer.inputs, input),
    ...(draft.format === "png" || !offer.makesPictures ? {} : { output: { format: draft.format } }),
  };
}

/** A plain pipeline takes few of what the controls say; those that it does not take are not shown. */
function only(names: readonly string[], input: JobInput): JobInput {
  const kept = Object.entries(input).filter(([name]) => names.includes(name));
  return { ...Object.fromEntries(kept), prompt: input.prompt };
}

/** A number that is none is sent as it stands: the service says what is wrong with it. */
function ownInput(draft: Draft, offer: Offer): Record<string, unknown> {
  // another model's input of the same name may have had other choices
  const fits = ({ name, choices }: OwnInput): boolean => !choices.length || choices.includes(draft.own[name] ?? "");
  const said = offer.own.filter(fits).map(({ name, kind }) => [name, valueOf(draft.own[name] ?? "", kind)] as const);
  return Object.fromEntries(said.filter(([, value]) => value !== ""));
}

function valueOf(text: string, kind: OwnInput["kind"]): string | number | boolean {
  if (text === "" || kind === "string") return text;
  if (kind === "boolean") return text === "true";
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** What must be said beside the preset; one of its own that was taken away gets the weight 0. */
function adapterInput(shown: Record<string, number>, preset: Preset): { adapters?: Record<string, number> } {
  const away = Object.keys(preset.adapters).filter((name) => !(name in shown));
  const said = Object.entries(shown).filter(([name, weight]) => preset.adapters[name] !== weight);
  const adapters = Object.fromEntries([...said, ...away.map((name): [string, number] => [name, 0])]);
  return Object.keys(adapters).length ? { adapters } : {};
}

/** A seed that a browser keeps exactly; null for what is none. */
export function seedOf(text: string): number | null {
  const seed = /^\d+$/.test(text.trim()) ? Number(text.trim()) : NaN;
  return Number.isSafeInteger(seed) ? seed : null;
}

/** The draft that asks for this again: the input of a job, or what a picture says of itself. */
export function draftFrom(input: Record<string, unknown>, model: string, offer: Offer, before: Draft): Draft {
  const number = (name: string): number | null => (typeof input[name] === "number" ? input[name] : null);
  const text = (name: string): string | null => (typeof input[name] === "string" ? input[name] : null);
  const weights = isWeights(input.adapters) ? input.adapters : {};
  const asked: Preset = {
    num_inference_steps: number("num_inference_steps"),
    guidance_scale: number("guidance_scale"),
    solver: text("solver"),
    adapters: weights,
  };
  const alike = Object.keys(offer.presets).find((name) => isLike(offer.presets[name] ?? NO_PRESET, asked));
  const preset = offer.presets[alike ?? offer.defaultPreset] ?? NO_PRESET;
  const taken = Object.keys(preset.adapters).filter((name) => !(name in weights));
  const [width, height] = [number("width"), number("height")];
  const seed = number("seed");
  return {
    ...before,
    model,
    prompt: text("prompt") ?? before.prompt,
    negativePrompt: text("negative_prompt") ?? "",
    preset: alike ?? offer.defaultPreset,
    steps: differing(asked.num_inference_steps, preset.num_inference_steps),
    guidance: differing(asked.guidance_scale, preset.guidance_scale),
    solver: differing(asked.solver, preset.solver),
    adapters: {
      ...Object.fromEntries(Object.entries(weights).filter(([name, weight]) => preset.adapters[name] !== weight)),
      ...Object.fromEntries(taken.map((name) => [name, null])),
    },
    size: width && height ? [width, height] : null,
    seed: seed !== null && Number.isSafeInteger(seed) ? String(seed) : before.seed,
    isSeedLocked: seed !== null && Number.isSafeInteger(seed),
    images: number("num_images_per_prompt") ?? 1,
    isReproducible: input.reproducible === true,
    strength: number("strength") ?? before.strength,
    controlScale: number("controlnet_conditioning_scale") ?? before.controlScale,
    imagePromptScale: number("ip_adapter_scale") ?? before.imagePromptScale,
    margins: marginsOf(input.outpaint),
    extras: extrasFrom(input, offer),
    own: Object.fromEntries(
      offer.own.flatMap(({ name }) => (name in input ? [[name, wordsOf(input[name])] as const] : [])),
    ),
  };
}

const wordsOf = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? String(value) : "";

const differing = <T>(asked: T | null, preset: T | null): T | null => (asked === preset ? null : asked);

function isLike(preset: Preset, asked: Preset): boolean {
  const names = ["num_inference_steps", "guidance_scale", "solver"] as const;
  const weights = (of: Preset): string => JSON.stringify(Object.entries(of.adapters).sort());
  return names.every((name) => preset[name] === asked[name]) && weights(preset) === weights(asked);
}

function isWeights(value: unknown): value is Record<string, number> {
  return typeof value === "object" && value !== null && Object.values(value).every((one) => typeof one === "number");
}

/** A draft kept by an earlier page, which may have had fewer settings. */
export function isDraft(value: unknown): value is Partial<Draft> {
  if (typeof value !== "object" || value === null) return false;
  const said = value as Record<string, unknown>;
  return Object.entries(EMPTY).every(
    ([name, one]) => one === null || !(name in said) || typeof said[name] === typeof one,
  );
}

/** What lies on the table: the draft, its pictures and mask, and what the gateway said against it. */

import { create } from "zustand";

import { ApiError } from "@/lib/api/errors";
import type { Offer } from "@/lib/offer";
import { store, stored } from "@/lib/stored";

import { CENTRE, type Focus, fittingSize } from "./crop";
import { type Draft, EMPTY, isDraft } from "./draft";
import { added, isPrompts } from "./history";
import { type Mask, NO_MASK } from "./mask";
import { keepPicture, keptPicture, letGoOf } from "./kept";
import { type Source, sourceOf } from "./pictures";

interface Desk {
  draft: Draft;
  prompts: string[];
  image: Source | null;
  focus: Focus;
  mask: Mask;
  control: Source | null;
  controlFocus: Focus;
  /** By the field that is to blame, as the API names it. */
  faults: Readonly<Record<string, string>>;
  /** What has no field here. */
  fault: unknown;
}

const MASK = "darkroom.create.mask";
const DRAFT = "darkroom.create.draft";
const PROMPTS = "darkroom.create.prompts";
const KEEP_MS = 300;

export const useDesk = create<Desk>(() => ({
  draft: stored(DRAFT, isDraft) ?? EMPTY,
  prompts: stored(PROMPTS, isPrompts) ?? [],
  image: null,
  focus: CENTRE,
  mask: NO_MASK,
  control: null,
  controlFocus: CENTRE,
  faults: {},
  fault: null,
}));

let keeping: number | undefined;
useDesk.subscribe((desk, before) => {
  if (desk.draft === before.draft && desk.mask === before.mask && desk.focus === before.focus) return;
  window.clearTimeout(keeping);
  keeping = window.setTimeout(keep, KEEP_MS);
});
window.addEventListener("pagehide", keep);

function keep(): void {
  const { draft, image, focus, mask } = useDesk.getState();
  store(DRAFT, draft);
  if (image) store(MASK, { focus, done: mask.done }); // while nothing lies there, the last page's may still be needed
}

/** Change the draft; what was said against the changed fields no longer holds. */
export function change(patch: Partial<Draft> | ((draft: Draft) => Draft)): void {
  useDesk.setState(({ draft, faults }) => {
    const next = typeof patch === "function" ? patch(draft) : { ...draft, ...patch };
    const changed = (Object.keys(next) as (keyof Draft)[]).filter((name) => next[name] !== draft[name]);
    const gone = new Set(changed.flatMap((name) => FIELDS[name] ?? [name]));
    const left = Object.fromEntries(Object.entries(faults).filter(([field]) => !gone.has(field)));
    return { draft: next, faults: left };
  });
}

/** The API's names of what the draft calls otherwise. */
const FIELDS: Partial<Record<keyof Draft, readonly string[]>> = {
  negativePrompt: ["negative_prompt"],
  steps: ["num_inference_steps"],
  guidance: ["guidance_scale"],
  size: ["width", "height"],
  images: ["num_images_per_prompt"],
  format: ["output.format"],
  controlScale: ["controlnet_conditioning_scale"],
};

/** The fields whose faults are shown where their control is; all others are told above the button. */
const SHOWN = new Set<string>([
  ...Object.keys(EMPTY),
  ...Object.values(FIELDS).flat(),
  ...["image", "mask_image", "control_image"],
]);

export function blame(error: unknown): void {
  const field = error instanceof ApiError ? (error.field?.replace(/^input\./, "") ?? null) : null;
  const name = field?.startsWith("adapters") ? "adapters" : field;
  if (error instanceof ApiError && name && SHOWN.has(name)) useDesk.setState({ faults: { [name]: error.message } });
  else useDesk.setState({ fault: error });
}

export const absolve = (): void => useDesk.setState({ faults: {}, fault: null });

export function rememberPrompt(prompt: string): void {
  const prompts = added(useDesk.getState().prompts, prompt);
  useDesk.setState({ prompts });
  store(PROMPTS, prompts);
}

export function forgetPrompts(): void {
  useDesk.setState({ prompts: [] });
  store(PROMPTS, []);
}

/** Start from this picture; the size becomes the offered one that fits it best. */
export function startFrom(image: Source | null, offer: Offer | null): void {
  useDesk.setState(({ faults }) => ({ image, focus: CENTRE, mask: NO_MASK, faults: without(faults, PICTURE_FIELDS) }));
  if (image && offer) change({ size: fittingSize(image.size, offer) });
  void (image ? keepPicture("image", image.blob, image.name) : letGoOf("image"));
}

export function followPicture(control: Source | null): void {
  useDesk.setState(({ faults }) => ({ control, controlFocus: CENTRE, faults: without(faults, ["control_image"]) }));
  void (control ? keepPicture("control", control.blob, control.name) : letGoOf("control"));
}

const PICTURE_FIELDS = ["image", "mask_image", "strength"];

function without(faults: Desk["faults"], fields: readonly string[]): Desk["faults"] {
  return Object.fromEntries(Object.entries(faults).filter(([field]) => !fields.includes(field)));
}

/** The pictures that lay here before the page was loaded again. */
export async function restorePictures(): Promise<void> {
  for (const place of ["image", "control"] as const) {
    const kept = await keptPicture(place);
    if (!kept || useDesk.getState()[place]) continue;
    const source = await sourceOf(kept.blob, kept.name).catch(() => null);
    if (source) useDesk.setState(place === "image" ? { image: source, ...keptMask() } : { control: source });
  }
}

function keptMask(): Partial<Desk> {
  const kept = stored(MASK, isKeptMask);
  return kept ? { focus: kept.focus, mask: { done: kept.done, undone: [] } } : {};
}

function isKeptMask(value: unknown): value is { focus: Focus; done: Mask["done"] } {
  return (
    typeof value === "object" && value !== null && "focus" in value && "done" in value && Array.isArray(value.done)
  );
}

/** All as it lay before something took its place. */
export function putBack(before: Pick<Desk, "draft" | "image" | "focus" | "mask" | "control" | "controlFocus">): void {
  startFrom(before.image, null);
  followPicture(before.control);
  useDesk.setState(before);
}

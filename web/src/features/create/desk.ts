/** What lies on the table: the draft, its pictures and mask, and what the gateway said against it. */

import { create } from "zustand";

import { ApiError } from "@/lib/api/errors";
import { DRAFT, compose } from "@/lib/composed";
import { fittingSize } from "@/lib/crop";
import { keepPlaced, restored } from "@/lib/kept";
import { NO_MARGINS } from "@/lib/margins";
import type { Offer } from "@/lib/offer";
import { type Given, type Placed } from "@/lib/pictures";
import { store, stored } from "@/lib/stored";

import { type Draft, EMPTY, isDraft } from "./draft";
import { added, isPrompts } from "./history";

interface Desk extends Required<Given> {
  draft: Draft;
  prompts: string[];
  /** By the field that is to blame, as the API names it. */
  faults: Readonly<Record<string, string>>;
  /** What has no field here. */
  fault: unknown;
}

const PLACES = { start: "create.image", control: "create.control", imagePrompt: "create.image-prompt" } as const;
const PROMPTS = "darkroom.create.prompts";
const KEEP_MS = 300;

export const useDesk = create<Desk>(() => ({
  draft: { ...EMPTY, ...stored(DRAFT, isDraft) },
  prompts: stored(PROMPTS, isPrompts) ?? [],
  start: null,
  control: null,
  imagePrompt: null,
  faults: {},
  fault: null,
}));

let keeping: number | undefined;
useDesk.subscribe((desk, before) => {
  if (desk.draft === before.draft) return;
  compose(desk.draft.prompt);
  window.clearTimeout(keeping);
  keeping = window.setTimeout(keep, KEEP_MS);
});
window.addEventListener("pagehide", keep);

function keep(): void {
  store(DRAFT, useDesk.getState().draft);
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

/** Numbers that have a control wherever a model takes them. */
export const EXTRAS: readonly string[] = ["num_frames", "frame_rate", "audio_end_in_s", "denoising_end"];

/** The API's names of what the draft calls otherwise. */
const FIELDS: Partial<Record<keyof Draft, readonly string[]>> = {
  negativePrompt: ["negative_prompt"],
  steps: ["num_inference_steps"],
  guidance: ["guidance_scale"],
  size: ["width", "height"],
  images: ["num_images_per_prompt"],
  format: ["output.format"],
  controlScale: ["controlnet_conditioning_scale"],
  imagePromptScale: ["ip_adapter_scale"],
  margins: ["outpaint"],
  extras: EXTRAS,
};

/** The fields whose faults are shown where their control is; all others are told above the button. */
const SHOWN = new Set<string>([
  ...Object.keys(EMPTY),
  ...Object.values(FIELDS).flat(),
  ...["image", "mask_image", "control_image", "ip_adapter_image"],
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

/** Start from this picture; where it is a new one, the size becomes the offered one that fits it best. */
export function startFrom(start: Placed | null, offer: Offer | null): void {
  const before = useDesk.getState().start?.source;
  useDesk.setState(({ faults }) => ({ start, faults: without(faults, PICTURE_FIELDS) }));
  if (start && offer && start.source !== before) {
    change({ size: fittingSize(start.source.size, offer), margins: NO_MARGINS });
  }
  keepPlaced(PLACES.start, start);
}

export function followPicture(control: Placed | null): void {
  useDesk.setState(({ faults }) => ({ control, faults: without(faults, ["control_image"]) }));
  keepPlaced(PLACES.control, control);
}

export function promptWith(imagePrompt: Placed | null): void {
  useDesk.setState(({ faults }) => ({ imagePrompt, faults: without(faults, ["ip_adapter_image"]) }));
  keepPlaced(PLACES.imagePrompt, imagePrompt);
}

const PICTURE_FIELDS = ["image", "mask_image", "strength", "outpaint"];

function without(faults: Desk["faults"], fields: readonly string[]): Desk["faults"] {
  return Object.fromEntries(Object.entries(faults).filter(([field]) => !fields.includes(field)));
}

/** The pictures that lay here before the page was loaded again. */
export async function restorePictures(): Promise<void> {
  for (const place of ["start", "control", "imagePrompt"] as const) {
    const kept = await restored(PLACES[place]);
    if (kept && !useDesk.getState()[place]) useDesk.setState({ [place]: kept });
  }
}

/** All as it lay before something took its place. */
export function putBack({ draft, start, control, imagePrompt }: Pick<Desk, "draft" | keyof Given>): void {
  startFrom(start, null);
  followPicture(control);
  promptWith(imagePrompt);
  useDesk.setState({ draft });
}

/** From what lies on the table to a job. */

import { toast } from "sonner";

import { type Artifact, type Job, api, artifactBytes, bytesOf, dataOf } from "@/lib/api/client";
import { ApiError, detailOf, sentenceOf } from "@/lib/api/errors";
import type { Waiting } from "@/lib/api/jobs";
import { keys, queryClient } from "@/lib/api/queries";
import { type JobBody, again, hasExactSeed, repeated, varied } from "@/lib/jobs";
import { type Offer, offerOf } from "@/lib/offer";
import { madeWith } from "@/lib/png";

import { cropOf } from "./crop";
import { type Draft, type Pictures, bodyOf, draftFrom, sizeOf } from "./draft";
import { absolve, blame, change, followPicture, putBack, rememberPrompt, startFrom, useDesk } from "./desk";
import { isDrawn } from "./mask";
import { type Source, artifactOf, cutPicture, forgetSent, maskPicture, sourceOf } from "./pictures";
import { planOf, send } from "./sending";

/** Make what the table says; refusals are put where they belong. */
export async function make(offer: Offer): Promise<void> {
  const { draft } = useDesk.getState();
  absolve();
  if (!draft.prompt.trim()) {
    blame(new ApiError({ code: "bad_input", message: "Say what to draw.", field: "prompt" }, 0));
    return;
  }
  rememberPrompt(draft.prompt);
  const [width, height] = sizeOf(draft, offer);
  const pictures = picturesOf(draft, offer);
  try {
    const job = await send({
      prompt: draft.prompt.trim(),
      frame: { width, height, count: draft.images },
      body: async (waiting) => bodyOf(draft, offer, await pictures(waiting)),
    });
    const seed = job?.input.seed;
    if (!draft.isSeedLocked && typeof seed === "number") noteSeed(seed);
  } catch (error) {
    forgetSent();
    blame(error);
  }
}

/** The seed that was drawn stands in the box, for who wants to lock it. */
function noteSeed(seed: number): void {
  if (Number.isSafeInteger(seed) && !useDesk.getState().draft.isSeedLocked) change({ seed: String(seed) });
}

/** The pictures as they lie on the table now, to be sent up when the time comes. */
function picturesOf(draft: Draft, offer: Offer): (waiting: Waiting) => Promise<Pictures> {
  const { image, focus, mask, control, controlFocus } = useDesk.getState();
  const size = sizeOf(draft, offer);
  return async (waiting) => {
    const pictures: Pictures = {};
    if (image && offer.takesImage) {
      const part = cropOf(image.size, size, focus);
      const id = await artifactOf([image.id, part, size], () => cutPicture(image, part, size), waiting);
      if (id) pictures.image = id;
      if (isDrawn(mask) && offer.takesMask) {
        const what = [image.id, part, size, mask.done];
        const drawn = await artifactOf(what, () => maskPicture(mask.done, part, size), waiting);
        if (drawn) pictures.mask_image = drawn;
      }
    }
    if (control && offer.controlScale) {
      const part = cropOf(control.size, size, controlFocus);
      const id = await artifactOf([control.id, part, size], () => cutPicture(control, part, size), waiting);
      if (id) pictures.control_image = id;
    }
    return pictures;
  };
}

/** Send a job said again; a refusal is told in a corner. */
async function sendAgain(body: JobBody): Promise<void> {
  try {
    await send(planOf(body));
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
}

export const vary = (job: Job): Promise<void> => sendAgain(varied(job));

export const tryAgain = (job: Job): Promise<void> => sendAgain(again(job));

export async function repeat(job: Job, of?: Artifact): Promise<void> {
  if (hasExactSeed(job)) return sendAgain(repeated(job, of));
  toast.error("Its seed is larger than a browser can keep.", {
    description: "Download the picture: darkroom generate --like FILE repeats it exactly.",
  });
}

export async function inputFrom(job: Job, output: Artifact, offer: Offer | null): Promise<void> {
  try {
    startFrom(await sourceOf(await bytesOf(output), job.input.prompt as string), offer);
    toast.success("The picture is the one to start from now.");
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
}

/** Take up settings that made something, of a job or of a picture; what lay on the table beside them goes. */
export async function takeUp(input: Record<string, unknown>, model: string, current: Offer): Promise<void> {
  const offer = (await offerOfModel(model)) ?? current;
  const image = typeof input.image === "string" ? await keptSource(input.image) : null;
  const control = typeof input.control_image === "string" ? await keptSource(input.control_image) : null;
  startFrom(image, null);
  followPicture(control);
  change((draft) => draftFrom(input, offer.model, offer, draft));
  if (input.mask_image) toast.info("Its mask does not come back: paint it again.");
}

/** A picture that a job was made from, while the gateway has it. */
async function keptSource(artifact: string): Promise<Source | null> {
  try {
    return await sourceOf(await artifactBytes(artifact), "");
  } catch {
    toast.info("The picture that it was made from is gone from the server.");
    return null;
  }
}

/** Null where that model is not served here. */
async function offerOfModel(id: string): Promise<Offer | null> {
  try {
    const ask = () => dataOf(api.GET("/v1/models/{model}", { params: { path: { model: id } } }));
    const model = await queryClient.ensureQueryData({ queryKey: keys.model(id), queryFn: ask, retry: false });
    return model.problem ? null : offerOf(model);
  } catch {
    return null;
  }
}

/** A file on the table: its settings if Darkroom made it, else a picture to start from. */
export async function take(file: Blob, name: string, offer: Offer | null): Promise<void> {
  try {
    const said = offer ? madeWith(new Uint8Array(await file.arrayBuffer())) : null;
    const source = await sourceOf(file, name);
    if (!said || !offer) return startFrom(source, offer);
    const { draft, image, focus, mask, control, controlFocus } = useDesk.getState();
    await takeUp(said.input, said.model, offer);
    toast.success("Its settings are back", {
      description: said.isFromPicture ? "It was made from another picture; drop that one too." : undefined,
      duration: 15_000,
      action: { label: "Use as input", onClick: () => startFrom(source, offer) },
      cancel: { label: "Undo", onClick: () => putBack({ draft, image, focus, mask, control, controlFocus }) },
    });
  } catch (error) {
    toast.error(error instanceof Error ? error.message : "That file cannot be read.");
  }
}

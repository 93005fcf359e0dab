/** From what lies on the table to a job. */

import { toast } from "sonner";

import { type Artifact, type Job, api, artifactBytes, bytesOf, dataOf } from "@/lib/api/client";
import { ApiError, detailOf, sentenceOf } from "@/lib/api/errors";
import { keys, queryClient } from "@/lib/api/queries";
import { type JobBody, again, hasExactSeed, repeated, varied } from "@/lib/jobs";
import { isThere } from "@/lib/margins";
import { isDrawn } from "@/lib/mask";
import { type Offer, offerOf } from "@/lib/offer";
import { type Placed, forgetSent, placedAs, sourceOf, uploaded } from "@/lib/pictures";
import { madeWith } from "@/lib/png";

import { bodyOf, draftFrom, sizeOf, startSizeOf } from "./draft";
import { absolve, blame, change, followPicture, promptWith, putBack, rememberPrompt, startFrom, useDesk } from "./desk";
import { planOf, send } from "./sending";

/** Make what the table says; refusals are put where they belong. */
export async function make(offer: Offer): Promise<void> {
  const { draft, start, control, imagePrompt } = useDesk.getState();
  absolve();
  if (!draft.prompt.trim()) {
    blame(new ApiError({ code: "bad_input", message: "Say what to draw.", field: "prompt" }, 0));
    return;
  }
  const given = {
    start: offer.takesImage ? start : null,
    control: offer.controlScale ? control : null,
    imagePrompt: offer.imagePromptScale ? imagePrompt : null,
  };
  const startSize = startSizeOf(draft, offer, given.start !== null && isDrawn(given.start.mask));
  if (given.start && !isThere(startSize)) {
    const message = "The margins leave nothing of the picture: make them narrower, or the size larger.";
    blame(new ApiError({ code: "bad_input", message, field: "outpaint" }, 0));
    return;
  }
  rememberPrompt(draft.prompt);
  const size = sizeOf(draft, offer);
  const [width, height] = size;
  try {
    const job = await send({
      prompt: draft.prompt.trim(),
      frame: { width, height, count: draft.images },
      body: async (waiting) => bodyOf(draft, offer, await uploaded(given, size, waiting, startSize)),
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
    startFrom(placedAs(await sourceOf(await bytesOf(output), job.input.prompt as string)), offer);
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
  const imagePrompt = typeof input.ip_adapter_image === "string" ? await keptSource(input.ip_adapter_image) : null;
  startFrom(image, null);
  followPicture(control);
  promptWith(imagePrompt);
  change((draft) => draftFrom(input, offer.model, offer, draft));
  if (input.mask_image) toast.info("Its mask does not come back: paint it again.");
}

/** A picture that a job was made from, while the gateway has it. */
async function keptSource(artifact: string): Promise<Placed | null> {
  try {
    return placedAs(await sourceOf(await artifactBytes(artifact), ""));
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
    const placed = placedAs(await sourceOf(file, name));
    if (!said || !offer) return startFrom(placed, offer);
    const { draft, start, control, imagePrompt } = useDesk.getState();
    await takeUp(said.input, said.model, offer);
    toast.success("Its settings are back", {
      description: said.isFromPicture
        ? "It was made from another picture; drop that one too."
        : said.isPrompted
          ? "A picture prompted it; give that one too."
          : undefined,
      duration: 15_000,
      action: { label: "Use as input", onClick: () => startFrom(placed, offer) },
      cancel: { label: "Undo", onClick: () => putBack({ draft, start, control, imagePrompt }) },
    });
  } catch (error) {
    toast.error(error instanceof Error ? error.message : "That file cannot be read.");
  }
}

/** Pictures that are given to a model: read, cut to size, and sent up once. */

import { type Waiting, overBreaks } from "./api/jobs";
import { upload } from "./api/client";
import type { Size } from "./offer";
import { CENTRE, type Focus, type Rect, cropOf } from "./crop";
import { type Deed, type Mask, NO_MASK, blackAndWhite, draw, isDrawn } from "./mask";

export interface Source {
  /** The same for the same bytes. */
  id: string;
  name: string;
  size: Size;
  bitmap: ImageBitmap;
  blob: Blob;
}

/** A picture on the table: what part of it is taken, and what of that is painted anew. */
export interface Placed {
  source: Source;
  focus: Focus;
  mask: Mask;
}

export const placedAs = (source: Source): Placed => ({ source, focus: CENTRE, mask: NO_MASK });

/** What a job is made from: a picture to start from, one whose lines are followed, and one that prompts. */
export interface Given {
  start: Placed | null;
  control: Placed | null;
  imagePrompt?: Placed | null;
}

/** The same as the gateway knows them: ids of uploads or outputs. */
export interface Pictures {
  image?: string;
  mask_image?: string;
  control_image?: string;
  ip_adapter_image?: string;
}

/** Raises an `Error` for people where it is no picture that the browser can read. */
export async function sourceOf(blob: Blob, name: string): Promise<Source> {
  try {
    const bitmap = await createImageBitmap(blob);
    const id = digestOf(new Uint8Array(await blob.arrayBuffer()));
    return { id, name, size: [bitmap.width, bitmap.height], bitmap, blob };
  } catch {
    throw new Error(`${name || "That file"} cannot be read as a picture: give a PNG, JPEG or WebP.`);
  }
}

/** Tells pictures of one person apart; not secure. Two 32-bit FNV-1a (Fowler, Noll, Vo) with different beginnings. */
export function digestOf(bytes: Uint8Array): string {
  let [one, other] = [0x811c9dc5, 0x9747b28c];
  for (const byte of bytes) {
    one = Math.imul(one ^ byte, 0x01000193);
    other = Math.imul(other ^ byte, 0x01000193) ^ (other >>> 15);
  }
  return [one, other].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

/** The part of it, at the size that goes to the model. */
export function cut(canvas: HTMLCanvasElement, source: Source, part: Rect, [width, height]: Size): void {
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  if (!pen) return;
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source.bitmap, part.x, part.y, part.width, part.height, 0, 0, width, height);
}

export async function cutPicture(source: Source, part: Rect, size: Size): Promise<Blob> {
  const isWhole = source.size[0] === size[0] && source.size[1] === size[1];
  if (isWhole && source.blob.type === "image/png") return source.blob; // its pixels as they are
  const canvas = document.createElement("canvas");
  cut(canvas, source, part, size);
  return pngOf(canvas);
}

/** White where it is to be painted anew, black elsewhere, of the picture's size; null where nothing is white. */
export async function maskPicture(deeds: readonly Deed[], part: Rect, [width, height]: Size): Promise<Blob | null> {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) return null;
  draw(pen, deeds, part, width, height, "white");
  const pixels = pen.getImageData(0, 0, width, height);
  const white = blackAndWhite(pixels.data);
  pen.putImageData(pixels, 0, 0);
  return white > 0 ? pngOf(canvas) : null;
}

function pngOf(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large to cut."))),
      "image/png",
    ),
  );
}

/** Send up what is given, cut to the size; what was sent already is not sent again. Margins are around the start. */
export async function uploaded(
  { start, control, imagePrompt }: Given,
  size: Size,
  waiting: Waiting,
  startSize: Size = size,
): Promise<Pictures> {
  const mask = start && isDrawn(start.mask) ? await artifactOf(start, startSize, "mask", waiting) : null;
  const image = start && (await artifactOf(start, startSize, "picture", waiting));
  const followed = control && (await artifactOf(control, size, "picture", waiting));
  const prompting =
    imagePrompt && (await artifactOf(imagePrompt, promptSize(imagePrompt.source.size), "picture", waiting));
  return {
    ...(image ? { image } : {}),
    ...(mask ? { mask_image: mask } : {}),
    ...(followed ? { control_image: followed } : {}),
    ...(prompting ? { ip_adapter_image: prompting } : {}),
  };
}

const MOST_SEEN = 1024; // pixels of an image prompt's longer side: its encoder sees a few hundred

/** The size at which a picture prompts: whole, and no larger than is of use. */
export function promptSize([width, height]: Size): Size {
  const share = Math.min(1, MOST_SEEN / Math.max(width, height));
  return [Math.max(1, Math.round(width * share)), Math.max(1, Math.round(height * share))];
}

const sent = new Map<string, Promise<string | null>>();

/** The artifact of a picture or of its mask; null for a mask with nothing in it. */
function artifactOf(placed: Placed, size: Size, what: "picture" | "mask", waiting: Waiting): Promise<string | null> {
  const { source, focus, mask } = placed;
  const part = cropOf(source.size, size, focus);
  const name = JSON.stringify([source.id, part, size, what === "mask" && mask.done]);
  const drawn = what === "mask" ? () => maskPicture(mask.done, part, size) : () => cutPicture(source, part, size);
  const sending = sent.get(name) ?? sentUp(drawn, waiting);
  sent.set(name, sending);
  sending.catch(() => sent.delete(name));
  return sending;
}

async function sentUp(drawn: () => Promise<Blob | null>, waiting: Waiting): Promise<string | null> {
  const blob = await drawn();
  return blob && (await overBreaks(() => upload(blob), waiting)).artifact_id;
}

/** The gateway may have removed unused uploads in the meantime: after a refusal they are sent anew. */
export const forgetSent = (): void => sent.clear();

/** Pictures to start from: read, cut to size, and sent up once. */

import { type Waiting, overBreaks } from "@/lib/api/jobs";
import { upload } from "@/lib/api/client";
import type { Size } from "@/lib/offer";
import { randomKey } from "@/lib/random";

import type { Rect } from "./crop";
import { type Deed, blackAndWhite, draw } from "./mask";

export interface Source {
  id: string;
  name: string;
  size: Size;
  bitmap: ImageBitmap;
  blob: Blob;
}

/** Raises an `Error` for people where it is no picture that the browser can read. */
export async function sourceOf(blob: Blob, name: string): Promise<Source> {
  try {
    const bitmap = await createImageBitmap(blob);
    return { id: randomKey(), name, size: [bitmap.width, bitmap.height], bitmap, blob };
  } catch {
    throw new Error(`${name || "That file"} cannot be read as a picture: give a PNG, JPEG or WebP.`);
  }
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

const sent = new Map<string, string>();

/** The artifact of a picture; the same one is sent up once. `what` tells it from others. */
export async function artifactOf(what: unknown, picture: () => Promise<Blob | null>, waiting: Waiting) {
  const name = JSON.stringify(what);
  const known = sent.get(name);
  if (known) return known;
  const blob = await picture();
  if (blob === null) return null;
  const { artifact_id } = await overBreaks(() => upload(blob), waiting);
  sent.set(name, artifact_id);
  return artifact_id;
}

/** The gateway may have removed unused uploads in the meantime: after a refusal they are sent anew. */
export const forgetSent = (): void => sent.clear();

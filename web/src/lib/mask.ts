/**
 * A mask as what was done to make it, so that all of it can be taken back.
 *
 * Places and sizes are pixels of the source picture: another crop of it keeps the mask where it was drawn.
 */

import type { Rect } from "./crop";

export interface Point {
  x: number;
  y: number;
}

export type Deed =
  | { kind: "stroke"; isErasing: boolean; size: number; points: readonly Point[] }
  | { kind: "invert" }
  | { kind: "clear" };

export interface Mask {
  done: readonly Deed[];
  undone: readonly Deed[];
}

export const NO_MASK: Mask = { done: [], undone: [] };

export function did(mask: Mask, deed: Deed): Mask {
  if (deed.kind === "clear" && mask.done.length === 0) return mask;
  return { done: [...mask.done, deed], undone: [] };
}

export function undo(mask: Mask): Mask {
  const last = mask.done.at(-1);
  return last ? { done: mask.done.slice(0, -1), undone: [...mask.undone, last] } : mask;
}

export function redo(mask: Mask): Mask {
  const last = mask.undone.at(-1);
  return last ? { done: [...mask.done, last], undone: mask.undone.slice(0, -1) } : mask;
}

/** Whether it may have anything in it: something was done since it was last cleared that is no erasing. */
export function isDrawn({ done }: Mask): boolean {
  const since = done.slice(done.findLastIndex((deed) => deed.kind === "clear") + 1);
  return since.some((deed) => deed.kind === "invert" || (deed.kind === "stroke" && !deed.isErasing));
}

/** What we need of a canvas to draw it. */
export type Pen = Pick<
  CanvasRenderingContext2D,
  | "globalCompositeOperation"
  | "lineCap"
  | "lineJoin"
  | "lineWidth"
  | "strokeStyle"
  | "fillStyle"
  | "beginPath"
  | "moveTo"
  | "lineTo"
  | "stroke"
  | "clearRect"
  | "fillRect"
>;

/** Draw it in one colour where it is to be painted anew, transparent elsewhere; `crop` of the source fills the canvas. */
export function draw(
  pen: Pen,
  deeds: readonly Deed[],
  crop: Rect,
  width: number,
  height: number,
  colour: string,
): void {
  const scale = width / crop.width;
  pen.clearRect(0, 0, width, height);
  pen.lineCap = "round";
  pen.lineJoin = "round";
  pen.strokeStyle = colour;
  pen.fillStyle = colour;
  for (const deed of deeds) {
    if (deed.kind === "clear") pen.clearRect(0, 0, width, height);
    else if (deed.kind === "invert") {
      pen.globalCompositeOperation = "source-out";
      pen.fillRect(0, 0, width, height);
    } else {
      pen.globalCompositeOperation = deed.isErasing ? "destination-out" : "source-over";
      pen.lineWidth = deed.size * scale;
      trace(pen, deed.points, crop, scale);
    }
  }
  pen.globalCompositeOperation = "source-over";
}

function trace(pen: Pen, points: readonly Point[], crop: Rect, scale: number): void {
  const [first, ...rest] = points.map(({ x, y }) => ({ x: (x - crop.x) * scale, y: (y - crop.y) * scale }));
  if (!first) return;
  pen.beginPath();
  pen.moveTo(first.x, first.y);
  if (rest.length === 0) pen.lineTo(first.x, first.y); // a round cap makes it a dot
  for (const { x, y } of rest) pen.lineTo(x, y);
  pen.stroke();
}

/** In place: white where it was drawn, black elsewhere, opaque. Returns how much is white, 0 to 1. */
export function blackAndWhite(rgba: Uint8ClampedArray): number {
  let white = 0;
  for (let at = 0; at < rgba.length; at += 4) {
    const isWhite = (rgba[at + 3] ?? 0) >= 128;
    rgba.fill(isWhite ? 255 : 0, at, at + 3);
    rgba[at + 3] = 255;
    if (isWhite) white += 1;
  }
  return rgba.length ? white / (rgba.length / 4) : 0;
}

/** A mask as it is seen over a picture: hatched in two tones, of which one stands out from whatever lies below. */

import type { Rect } from "./crop";
import { type Deed, draw } from "./mask";
import type { Size } from "./offer";

/** sRGB, 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

// The same in both themes: it lies on pictures, not on the page.
const DARK: Colour = [20, 18, 17];
const LIGHT: Colour = [255, 255, 255];
const OPACITY = 0.6;
const PERIOD = 14; // CSS pixels along a line, a dark and a light stripe
const LIGHT_EDGE = 1.5; // CSS pixels around the shape, and beyond them the dark edge
const DARK_EDGE = 3;
const MOST_DENSE = 2; // more pixels to a CSS pixel nobody sees

/** The colours that the two stripes have over that one. */
export const stripesOver = (below: Colour): [dark: Colour, light: Colour] => [mixed(below, DARK), mixed(below, LIGHT)];

const mixed = (below: Colour, above: Colour): Colour => [
  below[0] + (above[0] - below[0]) * OPACITY,
  below[1] + (above[1] - below[1]) * OPACITY,
  below[2] + (above[2] - below[2]) * OPACITY,
];

/** RGBA of a square of `side` pixels that repeats without a seam: stripes from the lower left to the upper right. */
export function hatchTile(side: number): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray(4 * side * side);
  for (let y = 0; y < side; y += 1)
    for (let x = 0; x < side; x += 1) {
      const tone = (x + y) % side < side / 2 ? DARK : LIGHT;
      rgba.set([...tone, 255 * OPACITY], 4 * (y * side + x));
    }
  return rgba;
}

/** Draw the mask over a picture of that size, at the resolution at which the canvas is shown. */
export function drawHatched(
  canvas: HTMLCanvasElement,
  deeds: readonly Deed[],
  part: Rect,
  [width, height]: Size,
): void {
  const pen = canvas.getContext("2d");
  const density = Math.min(MOST_DENSE, window.devicePixelRatio || 1);
  const shown = Math.round((canvas.clientWidth || width) * density);
  fit(canvas, shown, Math.round((shown * height) / width));
  if (!pen) return;
  draw(pen, deeds, part, canvas.width, canvas.height, "black");
  if (deeds.length === 0) return;
  const shape = copied(canvas);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = hatch(pen, Math.round(PERIOD * density)) ?? "black";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "destination-over";
  pen.drawImage(edged(shape, density), 0, 0);
  pen.globalCompositeOperation = "source-over";
}

function fit(canvas: HTMLCanvasElement, width: number, height: number): void {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

function copied(canvas: HTMLCanvasElement): HTMLCanvasElement {
  const copy = blank(canvas);
  copy.getContext("2d")?.drawImage(canvas, 0, 0);
  return copy;
}

function blank({ width, height }: HTMLCanvasElement): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  fit(canvas, width, height);
  return canvas;
}

function hatch(pen: CanvasRenderingContext2D, side: number): CanvasPattern | null {
  const tile = document.createElement("canvas");
  fit(tile, side, side);
  tile.getContext("2d")?.putImageData(new ImageData(hatchTile(side), side, side), 0, 0);
  return pen.createPattern(tile, "repeat");
}

/** What lies around the shape: a light line, and a dark one around that. */
function edged(shape: HTMLCanvasElement, density: number): HTMLCanvasElement {
  const edges = blank(shape);
  const pen = edges.getContext("2d");
  if (!pen) return edges;
  spread(pen, shape, DARK_EDGE * density);
  pen.drawImage(whitened(shape, LIGHT_EDGE * density), 0, 0);
  pen.globalCompositeOperation = "destination-out";
  pen.drawImage(shape, 0, 0);
  return edges;
}

function whitened(shape: HTMLCanvasElement, by: number): HTMLCanvasElement {
  const wider = blank(shape);
  const pen = wider.getContext("2d");
  if (!pen) return wider;
  spread(pen, shape, by);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = "white";
  pen.fillRect(0, 0, wider.width, wider.height);
  return wider;
}

/** The shape, wider by so much to all sides. */
function spread(pen: CanvasRenderingContext2D, shape: HTMLCanvasElement, by: number): void {
  const aside = by * Math.SQRT1_2;
  const ways = [[by, 0], [-by, 0], [0, by], [0, -by], [aside, aside], [-aside, aside], [aside, -aside], [-aside, -aside]] as const; // prettier-ignore
  for (const [x, y] of ways) pen.drawImage(shape, x, y);
}

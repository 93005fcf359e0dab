/** Draws a lane of the tick view. */

import { type Colours, cssOf } from "./colours";
import type { Look } from "./look";
import { type Column, type Kind, type Order, type Segment, segmentsOf } from "./ticks";

export interface Cursor {
  lane: string;
  n: number;
  job: string | null;
}

export interface Scene {
  columns: readonly Column[];
  width: number;
  height: number;
  /** As many rows fill the lane's height. */
  most: number;
  look: Look;
  order: Order;
  colours: Colours;
  marked: string | null;
  cursor: Cursor | null;
  /** Pixels from the right edge to each full second; empty where columns are not by time. */
  seconds: readonly number[];
  hasGone: boolean;
}

type Pen = CanvasRenderingContext2D;

const HATCH = 6;
const FLOOR = 1;
const FAINT = 0.14;
/** How much of its colour a part shows: denoising stands out, what is around it steps back. */
const STRENGTH: Record<Kind, number> = { denoise: 1, encode: 0.8, decode: 0.8, control: 0.9, other: 0.55 };

export function paint(pen: Pen, scene: Scene): void {
  const { width, height, columns, order } = scene;
  pen.clearRect(0, 0, width, height);
  paintGrid(pen, scene);
  for (const column of columns)
    for (const segment of segmentsOf(column.tick, order)) paintSegment(pen, scene, column, segment);
  paintEdge(pen, scene);
}

/** A rule for each full second, and one for each few rows. */
function paintGrid(pen: Pen, { width, height, look, seconds, most }: Scene): void {
  pen.fillStyle = look.line;
  pen.globalAlpha = 0.55;
  for (const left of seconds) pen.fillRect(Math.round(width - left), 0, 1, height);
  pen.globalAlpha = 0.35;
  const every = most > 24 ? 8 : most > 10 ? 4 : 1;
  for (let rows = every; rows < most; rows += every)
    pen.fillRect(0, Math.round(height - (rows / most) * height), width, 1);
  pen.globalAlpha = 1;
}

function paintSegment(pen: Pen, scene: Scene, column: Column, segment: Segment): void {
  const { look, colours, marked, cursor, order, hasGone } = scene;
  const { tick } = column;
  const box = boxOf(scene, column, segment);
  const isFaint = hasGone || (marked !== null && segment.job !== marked);
  const shade = segment.job === null ? null : colours.of(segment.job);
  const colour = shade ? cssOf(shade, look.jobLightness, look.jobChroma) : look.lineStrong;
  pen.globalAlpha = isFaint ? FAINT : STRENGTH[tick.kind];
  pen.fillStyle = colour;
  pen.beginPath();
  pen.roundRect(box.x, box.y, box.width, box.height, Math.min(3, box.width / 3, box.height / 3));
  pen.fill();
  if (tick.kind !== "denoise") paintHatch(pen, box, tick.kind, look.sunken);
  if (segment.job !== null && order.first(segment.job) === tick && !isFaint) paintJoin(pen, box, look);
  if (cursor?.n === tick.n && cursor.job === segment.job) paintCursor(pen, box, look);
  pen.globalAlpha = 1;
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

function boxOf({ height, most }: Scene, { x, width }: Column, { from, rows }: Segment): Box {
  const gap = width > 5 ? 1.5 : width > 2.5 ? 0.75 : 0;
  const each = (height - FLOOR) / most;
  const tall = Math.max(1, rows * each - 1);
  return { x, y: height - FLOOR - from * each - tall, width: Math.max(1, width - gap), height: tall };
}

/** Strokes across a part: rising for the encoder, falling for the decoder, upright for a ControlNet. */
function paintHatch(pen: Pen, { x, y, width, height }: Box, kind: Kind, colour: string): void {
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.beginPath();
  const slope = kind === "encode" ? height : kind === "decode" ? -height : 0;
  for (let left = x - height; left < x + width + height; left += HATCH) {
    pen.moveTo(left, y + height);
    pen.lineTo(left + slope, y);
  }
  pen.stroke();
  pen.restore();
}

/** The first batch of a job has a bright edge: here it joined. */
function paintJoin(pen: Pen, { x, y, height }: Box, look: Look): void {
  pen.globalAlpha = 1;
  pen.fillStyle = look.ink;
  pen.fillRect(x - 0.5, y, 2, height);
}

function paintCursor(pen: Pen, { x, y, width, height }: Box, look: Look): void {
  pen.globalAlpha = 1;
  pen.strokeStyle = look.ink;
  pen.lineWidth = 2;
  pen.strokeRect(x - 1, y - 1, width + 2, height + 2);
}

/** The past fades out on the left. */
function paintEdge(pen: Pen, { width, height, look }: Scene): void {
  const fade = pen.createLinearGradient(0, 0, Math.min(72, width / 5), 0);
  fade.addColorStop(0, look.sunken);
  fade.addColorStop(1, `${look.sunken}00`);
  pen.fillStyle = fade;
  pen.fillRect(0, 0, Math.min(72, width / 5), height);
}

/** What lies at that point of a lane; null where there is nothing. */
export function under(
  { columns, order, height, most }: Pick<Scene, "columns" | "order" | "height" | "most">,
  x: number,
  y: number,
): { n: number; job: string | null } | null {
  const column = columns.findLast((one) => one.x <= x && x < one.x + one.width + 1);
  if (!column) return null;
  const row = ((height - FLOOR - y) / (height - FLOOR)) * most;
  const found = segmentsOf(column.tick, order).find(({ from, rows }) => from <= row && row < from + rows);
  return found ? { n: column.tick.n, job: found.job } : null;
}

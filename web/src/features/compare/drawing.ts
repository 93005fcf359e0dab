/** A grid as one PNG. */

import { type Job, bytesOf } from "@/lib/api/client";
import { frameOf } from "@/lib/jobs";

import { type Axis, type Plan, cellsOf, fixedText, slotsOf, titleOf, valueText } from "./grid";
import { FONT, LINE, type Sheet, type Text, sheetOf } from "./sheet";

const FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
// Of the light theme, in whatever theme it is made: such pictures are shown to others.
const [PAPER, EMPTY, INK, SOFT] = ["#f6f3ef", "#ece7e1", "#1f1b18", "#5d554d"];

export interface Exported {
  blob: Blob;
  width: number;
  height: number;
}

/** `jobs`: those of the cells, row by row, null where there is none. Raises `ApiError` where pictures cannot be had. */
export async function exported(plan: Plan, jobs: readonly (Job | null)[]): Promise<Exported> {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  if (!pen) throw new Error("This browser cannot draw.");
  pen.font = `${FONT}px ${FAMILY}`;
  const sheet = sheetOf(contentsOf(plan, jobs), (text) => pen.measureText(text).width);
  canvas.width = sheet.width;
  canvas.height = sheet.height;
  pen.fillStyle = PAPER;
  pen.fillRect(0, 0, sheet.width, sheet.height);
  writeAll(pen, sheet);
  for (const [at, box] of sheet.cells.entries()) {
    pen.fillStyle = EMPTY;
    pen.fillRect(box.x, box.y, box.width, box.height);
    const output = jobs[at]?.outputs[0];
    if (!output) continue;
    const picture = await createImageBitmap(await bytesOf(output));
    pen.drawImage(picture, box.x, box.y, box.width, box.height);
    picture.close();
  }
  return { blob: await blobOf(canvas), width: sheet.width, height: sheet.height };
}

function contentsOf(plan: Plan, jobs: readonly (Job | null)[]) {
  const frames = jobs.map((job) => (job ? pictureSize(job) : null));
  const usual = frames.find((frame) => frame !== null) ?? { width: 256, height: 256 };
  return {
    across: plan.across ? titleOf(plan.across) : "",
    down: plan.down ? titleOf(plan.down) : "",
    columns: labelsOf(plan.across),
    rows: labelsOf(plan.down),
    sizes: cellsOf(plan).map((_, at) => frames[at] ?? usual),
    foot: fixedText(plan),
  };
}

export function pictureSize(job: Job): { width: number; height: number } {
  const [output, frame] = [job.outputs[0], frameOf(job.input)];
  return { width: output?.width ?? frame.width, height: output?.height ?? frame.height };
}

const labelsOf = (axis: Axis | null): string[] =>
  slotsOf(axis).map((value) => (axis && value !== undefined ? valueText(axis.kind, value) : ""));

function writeAll(pen: CanvasRenderingContext2D, sheet: Sheet): void {
  pen.textBaseline = "top";
  const write = (text: Text | null, weight: number, colour: string): void => {
    if (!text) return;
    pen.font = `${weight} ${FONT}px ${FAMILY}`;
    pen.fillStyle = colour;
    text.lines.forEach((line, at) => pen.fillText(line, text.x, text.y + at * LINE + (LINE - FONT) / 2, text.width));
  };
  write(sheet.across, 400, SOFT);
  write(sheet.down, 400, SOFT);
  for (const head of [...sheet.columnHeads, ...sheet.rowHeads]) write(head, 600, INK);
  write(sheet.foot, 400, SOFT);
}

const blobOf = (canvas: HTMLCanvasElement): Promise<Blob> =>
  new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The picture is too large to be written."))));
  });

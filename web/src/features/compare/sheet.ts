/** Where everything stands on the picture that a grid is exported as. Pixels; pure, the pen is elsewhere. */

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Text extends Omit<Box, "height"> {
  lines: string[];
}

export interface Sheet {
  width: number;
  height: number;
  /** How large the pictures are drawn; 1 unless the sheet would be too large for a canvas. */
  scale: number;
  cells: Box[];
  columnHeads: Text[];
  rowHeads: Text[];
  across: Text | null;
  down: Text | null;
  foot: Text;
}

export interface Contents {
  across: string;
  down: string;
  columns: readonly string[];
  rows: readonly string[];
  /** Of each cell, row by row. */
  sizes: readonly { width: number; height: number }[];
  foot: string;
}

export const MARGIN = 24;
export const GAP = 8;
export const FONT = 16; // pixels
export const LINE = 22;
export const ROW_HEAD = 140; // width of the rows' labels
const MOST_LINES = 5;
const LONGEST = 8192; // pixels of a side
const LARGEST = 40e6; // pixels of a canvas

/** Words into lines of at most `width`, as `measure` has it; what is too long ends in an ellipsis. */
export function wrapped(text: string, width: number, measure: (text: string) => number, most = MOST_LINES): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const last = lines.at(-1);
    if (last !== undefined && measure(`${last} ${word}`) <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  const shown = lines.slice(0, most).map((line) => shortened(line, width, measure));
  const last = shown.at(-1);
  if (lines.length > most && last !== undefined) shown[shown.length - 1] = shortened(`${last} …`, width, measure);
  return shown;
}

function shortened(line: string, width: number, measure: (text: string) => number): string {
  if (measure(line) <= width) return line;
  let kept = line.replace(/ …$/, "");
  while (kept.length > 1 && measure(`${kept}…`) > width) kept = kept.slice(0, -1);
  return `${kept.trimEnd()}…`;
}

export function sheetOf(contents: Contents, measure: (text: string) => number): Sheet {
  const { columns, rows, sizes } = contents;
  const scale = scaleOf(contents);
  const side = (value: number): number => Math.max(1, Math.round(value * scale));
  const at = (x: number, y: number) => sizes[y * columns.length + x] ?? { width: 1, height: 1 };
  const widths = columns.map((_, x) => Math.max(...rows.map((_row, y) => side(at(x, y).width))));
  const heights = rows.map((_, y) => Math.max(...columns.map((_column, x) => side(at(x, y).height))));
  const left = MARGIN + (contents.down || rows.some(Boolean) ? ROW_HEAD + GAP : 0);
  const columnLines = columns.map((text, x) => wrapped(text, widths[x] ?? 0, measure));
  const most = Math.max(0, ...columnLines.map((lines) => lines.length));
  const title = contents.across || (contents.down && most === 0) ? LINE : 0;
  const top = MARGIN + title + LINE * most + GAP;
  const lefts = starts(left, widths);
  const tops = starts(top, heights);
  const right = (lefts.at(-1) ?? left) + (widths.at(-1) ?? 0);
  const bottom = (tops.at(-1) ?? top) + (heights.at(-1) ?? 0);
  const foot = wrapped(contents.foot, right - MARGIN, measure);
  return {
    scale,
    width: right + MARGIN,
    height: bottom + (foot.length ? GAP + LINE * foot.length : 0) + MARGIN,
    cells: rows.flatMap((_row, y) =>
      columns.map((_column, x) => ({
        x: lefts[x] ?? 0,
        y: tops[y] ?? 0,
        width: side(at(x, y).width),
        height: side(at(x, y).height),
      })),
    ),
    columnHeads: columnLines.map((lines, x) => ({
      x: lefts[x] ?? 0,
      y: MARGIN + title,
      width: widths[x] ?? 0,
      lines,
    })),
    rowHeads: rows.map((text, y) => ({
      x: MARGIN,
      y: tops[y] ?? 0,
      width: ROW_HEAD,
      lines: wrapped(text, ROW_HEAD, measure, Math.max(1, Math.floor((heights[y] ?? 0) / LINE))),
    })),
    across: contents.across
      ? { x: left, y: MARGIN, width: right - left, lines: wrapped(contents.across, right - left, measure, 1) }
      : null,
    down: contents.down
      ? {
          x: MARGIN,
          y: top - GAP - LINE,
          width: ROW_HEAD,
          lines: wrapped(contents.down, ROW_HEAD, measure, 1),
        }
      : null,
    foot: { x: MARGIN, y: bottom + GAP, width: right - MARGIN, lines: foot },
  };
}

function starts(first: number, sizes: readonly number[]): number[] {
  return sizes.map((_, at) => first + sizes.slice(0, at).reduce((sum, size) => sum + size + GAP, 0));
}

function scaleOf({ columns, rows, sizes }: Contents): number {
  const width = columns.length * Math.max(1, ...sizes.map((size) => size.width));
  const height = rows.length * Math.max(1, ...sizes.map((size) => size.height));
  return Math.min(1, LONGEST / width, LONGEST / height, Math.sqrt(LARGEST / (width * height)));
}

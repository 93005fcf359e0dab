/** Rows of pictures of one height, as wide as the page: each picture keeps its shape. */

export interface Row {
  /** Of its first picture, among all. */
  start: number;
  widths: readonly number[];
  height: number;
}

export interface Measures {
  width: number;
  gap: number;
  /** What rows would like to be. */
  height: number;
}

/** `ratios` are widths divided by heights. */
export function rowsOf(ratios: readonly number[], { width, gap, height }: Measures): Row[] {
  const rows: Row[] = [];
  let start = 0;
  let sum = 0;
  for (let at = 0; at < ratios.length; at += 1) {
    sum += bounded(ratios[at] ?? 1);
    const count = at - start + 1;
    const filled = (width - gap * (count - 1)) / sum;
    const isFull = filled <= height;
    if (!isFull && at < ratios.length - 1) continue;
    const high = Math.max(1, Math.floor(Math.min(filled, height)));
    const widths = ratios.slice(start, at + 1).map((ratio) => Math.floor(bounded(ratio) * high));
    rows.push({ start, widths: isFull ? stretched(widths, width - gap * (count - 1)) : widths, height: high });
    start = at + 1;
    sum = 0;
  }
  return rows;
}

/** Panoramas and towers are shown in part, or one would be a row, and another a thread. */
const bounded = (ratio: number): number => Math.min(3, Math.max(0.4, Number.isFinite(ratio) ? ratio : 1));

/** The pixels that rounding left go to the last. */
function stretched(widths: number[], width: number): number[] {
  const left = Math.round(width - widths.reduce((sum, one) => sum + one, 0));
  return widths.map((one, at) => (at === widths.length - 1 ? Math.max(1, one + left) : one));
}

/** The row that a picture is in. */
export function rowAt(rows: readonly Row[], at: number): number {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((rows[middle]?.start ?? 0) <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The picture above (-1) or below (1), by its middle; the same where there is none. */
export function besides(rows: readonly Row[], at: number, by: number, gap: number): number {
  const here = rowAt(rows, at);
  const from = rows[here];
  const to = rows[Math.min(rows.length - 1, Math.max(0, here + by))];
  if (!from || !to || from === to) return at;
  const middle = middlesOf(from, gap)[at - from.start] ?? 0;
  const apart = middlesOf(to, gap).map((one) => Math.abs(one - middle));
  return to.start + apart.indexOf(Math.min(...apart));
}

function middlesOf({ widths }: Row, gap: number): number[] {
  let left = 0;
  return widths.map((width) => {
    const middle = left + width / 2;
    left += width + gap;
    return middle;
  });
}

interface Key {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
}

/** Where a key leads from a picture; null for one that leads nowhere. `page` is a window's height. */
export function walked(
  rows: readonly Row[],
  count: number,
  at: number,
  { key, ctrlKey, metaKey }: Key,
  { gap, page }: { gap: number; page: number },
): number | null {
  const row = rows[rowAt(rows, at)];
  if (!row || count === 0) return null;
  const isFar = ctrlKey || metaKey;
  const inPage = Math.max(1, Math.floor((page * 0.8) / (row.height + gap)));
  const ways: Record<string, () => number> = {
    ArrowLeft: () => at - 1,
    ArrowRight: () => at + 1,
    ArrowUp: () => besides(rows, at, -1, gap),
    ArrowDown: () => besides(rows, at, 1, gap),
    PageUp: () => besides(rows, at, -inPage, gap),
    PageDown: () => besides(rows, at, inPage, gap),
    Home: () => (isFar ? 0 : row.start),
    End: () => (isFar ? count - 1 : row.start + row.widths.length - 1),
  };
  const way = ways[key];
  if (!way || (isFar && key !== "Home" && key !== "End")) return null;
  return Math.min(count - 1, Math.max(0, way()));
}

/** Walking through a grid with the keyboard. */

/** Where an arrow leads from a cell, row by row; null for other keys, and at the edge. */
export function stepped(at: number, key: string, columns: number, count: number): number | null {
  const x = at % columns;
  const to: Readonly<Record<string, number | null>> = {
    ArrowLeft: x > 0 ? at - 1 : null,
    ArrowRight: x < columns - 1 ? at + 1 : null,
    ArrowUp: at - columns,
    ArrowDown: at + columns,
    Home: x > 0 ? at - x : null,
    End: x < columns - 1 ? at - x + columns - 1 : null,
  };
  const found = to[key] ?? null;
  return found !== null && found >= 0 && found < count ? found : null;
}

/** The one to compare a cell with where none was chosen: its neighbour before, else after, in the row or column. */
export function neighbourOf(at: number, columns: number, isGood: readonly boolean[]): number | null {
  const keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
  const near = keys.map((key) => stepped(at, key, columns, isGood.length));
  const found = near.find((one) => one !== null && isGood[one]);
  const any = isGood.findIndex((good, one) => good && one !== at);
  return found ?? (any < 0 ? null : any);
}

/** Which cells lie under the glass: the first is the one to compare with, the last the one that the arrows move. */

import { neighbourOf } from "./moving";

export type Mode = "one" | "side" | "wipe" | "difference";

export interface Panes {
  mode: Mode;
  cells: readonly number[];
}

/** How to begin: several chosen ones side by side, one by itself. */
export const panesOf = (chosen: readonly number[], mode?: Mode): Panes => ({
  mode: mode ?? (chosen.length > 1 ? "side" : "one"),
  cells: chosen,
});

/** Another way of looking; where that takes two and there is one, its neighbour joins. */
export function withMode(panes: Panes, mode: Mode, columns: number, isDone: readonly boolean[]): Panes {
  const active = panes.cells.at(-1) ?? 0;
  if (mode === "one" || panes.cells.length > 1) return { ...panes, mode };
  const other = neighbourOf(active, columns, isDone);
  return other === null ? panes : { mode, cells: [other, active] };
}

/** The last one becomes another cell; where that is among them already, it is the last now. */
export function withActive(panes: Panes, to: number): Panes {
  if (panes.mode === "one") return { ...panes, cells: [to] };
  const others = panes.cells.includes(to) ? panes.cells.filter((cell) => cell !== to) : panes.cells.slice(0, -1);
  return { ...panes, cells: [...others, to] };
}

/** Put a cell beside the others, or take it away; one always stays. */
export function withToggled(panes: Panes, cell: number): Panes {
  if (panes.mode !== "side") return withActive(panes, cell);
  if (!panes.cells.includes(cell)) return { ...panes, cells: [...panes.cells, cell] };
  const left = panes.cells.filter((one) => one !== cell);
  return left.length ? { ...panes, cells: left } : panes;
}

export const swapped = (panes: Panes): Panes => ({ ...panes, cells: [...panes.cells].reverse() });

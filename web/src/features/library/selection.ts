/** Which pictures are selected: by id, so that they stay so whatever is searched for. */

export interface Selection {
  ids: ReadonlySet<string>;
  /** Where ranges begin. */
  anchor: string | null;
  /** What was selected before the range that is being drawn. */
  before: ReadonlySet<string>;
}

export const NONE: Selection = { ids: new Set(), anchor: null, before: new Set() };

/** In or out; ranges begin here from now on. */
export function toggled({ ids }: Selection, id: string): Selection {
  const after = new Set(ids);
  if (!after.delete(id)) after.add(id);
  return { ids: after, anchor: id, before: new Set([...after].filter((one) => one !== id)) };
}

/** From the anchor (else `from`) to `to`, beside what was selected before; drawn anew each time, so it shrinks too. */
export function ranged(selection: Selection, order: readonly string[], to: string, from: string = to): Selection {
  const anchored = selection.anchor !== null && order.includes(selection.anchor) ? selection.anchor : from;
  const isNew = anchored !== selection.anchor;
  const ends = [order.indexOf(anchored), order.indexOf(to)].sort((one, other) => one - other);
  const [first = -1, last = -1] = ends;
  if (first < 0) return selection;
  const before = isNew ? selection.ids : selection.before;
  return { ids: new Set([...before, ...order.slice(first, last + 1)]), anchor: anchored, before };
}

export const all = (order: readonly string[]): Selection => ({
  ids: new Set(order),
  anchor: order[0] ?? null,
  before: new Set(),
});

/** Less what is no longer there. */
export function less(selection: Selection, gone: ReadonlySet<string>): Selection {
  const kept = (ids: ReadonlySet<string>): ReadonlySet<string> => new Set([...ids].filter((id) => !gone.has(id)));
  const anchor = selection.anchor !== null && gone.has(selection.anchor) ? null : selection.anchor;
  return { ids: kept(selection.ids), anchor, before: kept(selection.before) };
}

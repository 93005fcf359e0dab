import { defaultRangeExtractor, useWindowVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type MouseEvent, useCallback, useEffect, useLayoutEffect, useMemo, useRef } from "react";

import styles from "./Grid.module.css";
import type { Piece } from "./made";
import { rowAt, rowsOf, walked } from "./rows";
import { type Selection, ranged, toggled } from "./selection";
import { select } from "./selected";
import { Tile } from "./Tile";
import { useBox } from "./useBox";

const GAP = 8;
const OVERSCAN = 3; // rows

interface Props {
  pieces: readonly Piece[];
  selection: Selection;
  isSelecting: boolean;
  /** The picture that the keyboard is at. */
  active: string | null;
  /** Something lies over the grid; when it goes the keyboard comes back here. */
  isCovered: boolean;
  onActive: (id: string) => void;
  onOpen: (id: string) => void;
  onDelete: (at: Piece | undefined) => void;
}

/** All pictures in rows, of which only those in sight are drawn; the keyboard goes everywhere. */
export function Grid({ pieces, selection, isSelecting, active, isCovered, onActive, onOpen, onDelete }: Props) {
  const { ref, width, top, barHeight } = useBox();
  const rows = useMemo(
    () => (width ? rowsOf(pieces.map(ratioOf), { width, gap: GAP, height: heightFor(width) }) : []),
    [pieces, width],
  );
  const places = useMemo(() => new Map(pieces.map(({ id }, at) => [id, at])), [pieces]);
  const at = places.get(active ?? "") ?? 0;
  const activeRow = rowAt(rows, at);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: (row) => (rows[row]?.height ?? 0) + GAP,
    overscan: OVERSCAN,
    scrollMargin: top,
    scrollPaddingStart: barHeight + GAP,
    scrollPaddingEnd: 96,
    // The picture with the focus stays, or scrolling it out of sight would lose the keyboard's place.
    rangeExtractor: (range) => [...new Set([activeRow, ...defaultRangeExtractor(range)])].sort((a, b) => a - b),
  });
  useLayoutEffect(() => virtual.measure(), [virtual, rows]);
  const focus = useFocus(active, isCovered);

  const go = (to: number, event: KeyboardEvent): void => {
    const piece = pieces[to];
    const from = pieces[at];
    if (!piece || !from) return;
    focus.ask();
    onActive(piece.id);
    virtual.scrollToIndex(rowAt(rows, to));
    if (event.shiftKey) {
      const order = pieces.map(({ id }) => id);
      select((before) => ranged(before, order, piece.id, from.id));
    }
  };
  const press = (event: KeyboardEvent): void => {
    const piece = pieces[at];
    const isAlone = !event.ctrlKey && !event.metaKey && !event.altKey;
    const to = event.altKey ? null : walked(rows, pieces.length, at, event, { gap: GAP, page: window.innerHeight });
    if (to !== null) go(to, event);
    else if (piece && isAlone && event.key === "Enter") onOpen(piece.id);
    else if (piece && isAlone && event.key === " ") select((before) => toggled(before, piece.id));
    else if (isAlone && (event.key === "Delete" || event.key === "Backspace")) onDelete(piece);
    else return;
    event.preventDefault();
  };
  const latest = useRef({ pieces, active: pieces[at]?.id, isSelecting });
  useEffect(() => {
    latest.current = { pieces, active: pieces[at]?.id, isSelecting };
  });
  const pressed = useCallback(
    ({ id }: Piece, event: MouseEvent) => {
      const { active: from, isSelecting: selects, pieces: shown } = latest.current;
      const isCheck = event.target instanceof Element && event.target.closest("[data-check]") !== null;
      onActive(id);
      if (event.shiftKey) {
        const order = shown.map((one) => one.id);
        select((before) => ranged(before, order, id, from ?? id));
      } else if (isCheck || selects || event.ctrlKey || event.metaKey) select((before) => toggled(before, id));
      else onOpen(id);
    },
    [onActive, onOpen],
  );
  const focused = useCallback(({ id }: Piece) => onActive(id), [onActive]);
  return (
    // eslint-disable-next-line jsx-a11y/interactive-supports-focus -- its cells do
    <div
      ref={ref}
      role="grid"
      aria-label="Pictures"
      aria-multiselectable
      aria-rowcount={rows.length}
      data-selecting={isSelecting || undefined}
      className={styles.grid}
      style={{ height: virtual.getTotalSize() }}
      onKeyDown={press}
    >
      {virtual.getVirtualItems().map(({ index, start }) => {
        const row = rows[index];
        if (!row) return null;
        return (
          <div
            key={index}
            role="row"
            aria-rowindex={index + 1}
            className={styles.row}
            style={{ transform: `translateY(${start - top}px)` }}
          >
            {row.widths.map((wide, column) => {
              const piece = pieces[row.start + column];
              return piece ? (
                <Tile
                  key={piece.id}
                  piece={piece}
                  column={column + 1}
                  width={wide}
                  height={row.height}
                  isSelected={selection.ids.has(piece.id)}
                  isActive={row.start + column === at}
                  onPress={pressed}
                  onFocus={focused}
                />
              ) : null;
            })}
          </div>
        );
      })}
    </div>
  );
}

const ratioOf = ({ width, height }: Piece): number => width / height;

/** Three or so beside each other on a phone, five or so at a desk. */
const heightFor = (width: number): number => (width < 600 ? 120 : width < 1400 ? 190 : 220);

/** Brings the focus to the active picture when it was asked for, and when what covered the grid has gone. */
function useFocus(active: string | null, isCovered: boolean) {
  const isAsked = useRef(false);
  const wasCovered = useRef(false);
  useLayoutEffect(() => {
    if (isAsked.current && focusOn(active)) isAsked.current = false;
  });
  useEffect(() => {
    // After the sheet's own farewell, which gives the focus to what had it before.
    if (wasCovered.current && !isCovered) window.setTimeout(() => focusOn(active), 0);
    wasCovered.current = isCovered;
  }, [isCovered, active]);
  return useMemo(
    () => ({
      ask: () => {
        isAsked.current = true;
      },
    }),
    [],
  );
}

function focusOn(id: string | null): boolean {
  const tile = id === null ? null : document.querySelector<HTMLElement>(`[data-piece="${CSS.escape(id)}"]`);
  tile?.focus({ preventScroll: true });
  return tile !== null;
}

import { type KeyboardEvent, type PointerEvent, useEffect, useRef } from "react";

import styles from "./TickView.module.css";
import type { Cursor } from "./painting";
import { Strip, type View } from "./strip";
import { sayingOf, segmentsOf } from "./ticks";

interface Props extends View {
  label: string;
  onCursor: (cursor: Cursor | null) => void;
  onMark: (job: string | null) => void;
}

/** A worker's batches as they come; the pointer or the arrow keys walk among them, Enter follows a job. */
export function LaneStrip({ label, onCursor, onMark, ...view }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const strip = useRef<Strip>(null);
  useEffect(() => {
    if (!canvas.current) return undefined;
    const made = new Strip(canvas.current);
    strip.current = made;
    return () => made.stop();
  }, []);
  useEffect(() => strip.current?.show(view));

  const lane = view.lane.id;
  const point = (event: PointerEvent): Cursor | null => {
    const found = strip.current?.at(event.clientX, event.clientY);
    return found ? { ...found, lane } : null;
  };
  const press = (event: KeyboardEvent): void => {
    const ours = view.cursor?.lane === lane ? view.cursor : null;
    if (event.key === "Enter" || event.key === " ") {
      if (ours) onMark(ours.job === view.marked ? null : ours.job);
    } else if (event.key === "Escape") {
      onMark(null);
      onCursor(null);
    } else {
      const next = walked(strip.current?.inSight ?? [], ours, event.key, view);
      if (!next) return;
      onCursor({ ...next, lane });
    }
    event.preventDefault();
  };
  const ticks = view.lane.ticks;
  const at = view.cursor?.lane === lane ? ticks.find((tick) => tick.n === view.cursor?.n) : undefined;
  const newest = ticks.at(-1)?.n ?? 0;
  return (
    <div
      className={styles.strip}
      role="slider"
      tabIndex={0}
      aria-label={label}
      aria-valuemin={ticks[0]?.n ?? 0}
      aria-valuemax={newest}
      aria-valuenow={at?.n ?? newest}
      aria-valuetext={at ? `Batch ${at.n}: ${sayingOf(at, view.cursor?.job ?? null)}` : `${ticks.length} batches`}
      onKeyDown={press}
      onPointerMove={(event) => onCursor(point(event))}
      onPointerLeave={() => onCursor(null)}
      onClick={(event) => {
        const found = strip.current?.at(event.clientX, event.clientY);
        onMark(!found || found.job === view.marked ? null : found.job);
      }}
    >
      <canvas ref={canvas} className={styles.canvas} />
      {ticks.length === 0 ? <span className={styles.idle}>No batch since you came in</span> : null}
    </div>
  );
}

/** Where an arrow key leads: along the batches, or up and down among the jobs of one. */
function walked(
  columns: Strip["inSight"],
  from: Cursor | null,
  key: string,
  { order }: Pick<View, "order">,
): Omit<Cursor, "lane"> | null {
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 0, ArrowDown: 0, Home: -Infinity, End: Infinity }[key];
  if (by === undefined || columns.length === 0) return null;
  const at = columns.findIndex(({ tick }) => tick.n === from?.n);
  const to = at < 0 ? columns.length - 1 : Math.min(columns.length - 1, Math.max(0, at + by));
  const tick = columns[to]?.tick;
  if (!tick) return null;
  const jobs = segmentsOf(tick, order).map((segment) => segment.job);
  const place = jobs.indexOf(from?.job ?? null);
  const up = key === "ArrowUp" ? 1 : key === "ArrowDown" ? -1 : 0;
  const chosen = place < 0 ? 0 : Math.min(jobs.length - 1, Math.max(0, place + up));
  return { n: tick.n, job: jobs[chosen] ?? null };
}

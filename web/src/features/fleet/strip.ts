/** One lane on its canvas: moves on with each frame, and knows what lies under a point. */

import type { Colours } from "./colours";
import type { Look } from "./look";
import { type Cursor, type Scene, paint, under } from "./painting";
import { type Column, type Lane, type Order, columnsByCount, columnsByTime, endedBy } from "./ticks";

export type Mode = "time" | "count";

export interface View {
  lane: Lane;
  mode: Mode;
  perSecond: number;
  /** Where time stands still; null while it goes on. */
  pausedAt_s: number | null;
  look: Look;
  order: Order;
  colours: Colours;
  marked: string | null;
  cursor: Cursor | null;
  hasGone: boolean;
}

/** Reports come a second apart and are fetched a second apart: what is drawn lags a little, so that it moves evenly. */
const LAG_S = 2.4;
const EACH_PX = 16;
const LEAST_ROWS = 4;

export class Strip {
  private view: View | null = null;
  private columns: Column[] = [];
  private most = LEAST_ROWS;
  private behind = 0;
  private last = 0;
  private frame = 0;
  private then_ms = 0;
  private readonly sizes: ResizeObserver;
  private readonly isCalm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(canvas);
    this.fit();
  }

  /** Draw this from now on. */
  show(view: View): void {
    this.view = view;
    if (this.frame === 0) this.frame = requestAnimationFrame(this.turn);
  }

  stop(): void {
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  /** What lies at a point of the page. */
  at(clientX: number, clientY: number): Omit<Cursor, "lane"> | null {
    const { left, top, height } = this.canvas.getBoundingClientRect();
    if (!this.view) return null;
    const scene = { columns: this.columns, order: this.view.order, height, most: this.most };
    return under(scene, clientX - left, clientY - top);
  }

  /** The batches in sight, the oldest first. */
  get inSight(): readonly Column[] {
    return this.columns;
  }

  private fit(): void {
    const { clientWidth, clientHeight } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.view) this.show(this.view);
  }

  private turn = (now_ms: number): void => {
    const passed_s = Math.min(0.1, (now_ms - this.then_ms) / 1000);
    this.then_ms = now_ms;
    this.frame = 0;
    const { view } = this;
    if (!view) return;
    this.draw(view, this.isCalm ? Infinity : passed_s);
    if (!this.isCalm && view.pausedAt_s === null) this.frame = requestAnimationFrame(this.turn);
  };

  private draw(view: View, passed_s: number): void {
    const pen = this.canvas.getContext("2d");
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!pen || width === 0) return;
    const { lane, mode, perSecond } = view;
    const now = (view.pausedAt_s ?? Date.now() / 1000) + (Number.isFinite(lane.ahead_s) ? lane.ahead_s : 0) - LAG_S;
    this.columns =
      mode === "time"
        ? columnsByTime(lane.ticks, now, width, perSecond)
        : columnsByCount(lane.ticks, this.comeIn(lane, now, passed_s), width, EACH_PX);
    this.most = this.grown(passed_s);
    const seconds = mode === "time" ? rules(now, width, perSecond) : [];
    paint(pen, { ...view, columns: this.columns, width, height, most: this.most, seconds } satisfies Scene);
  }

  /** How many batches have slid in: new ones come with a short glide. */
  private comeIn({ ticks }: Lane, now: number, passed_s: number): number {
    const ended = endedBy(ticks, now);
    const newest = ticks[ended - 1]?.n ?? 0;
    const fresh = ended - endedBefore(ticks, ended, this.last);
    this.last = newest;
    this.behind = Math.min(12, this.behind + fresh) * Math.exp(-7 * passed_s);
    return Math.max(0, ended - (this.behind < 0.02 ? 0 : this.behind));
  }

  /** The scale follows the highest column in sight, at leisure. */
  private grown(passed_s: number): number {
    const highest = Math.max(LEAST_ROWS, ...this.columns.map(({ tick }) => tick.rows));
    return highest + (this.most - highest) * Math.exp(-5 * passed_s);
  }
}

/** How many of the first `ended` ticks had come in already when batch `last` was the newest. */
function endedBefore(ticks: Lane["ticks"], ended: number, last: number): number {
  let at = ended;
  while (at > 0 && (ticks[at - 1]?.n ?? 0) > last) at -= 1;
  return at;
}

/** Pixels from the right edge to each full second. */
function rules(now: number, width: number, perSecond: number): number[] {
  const every = perSecond < 60 ? 5 : 1;
  const found: number[] = [];
  for (let left = (now % every) * perSecond; left < width; left += every * perSecond) found.push(left);
  return found;
}

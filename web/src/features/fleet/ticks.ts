/** The tick view's model: batches as workers report them, each kept once, and where its jobs stand in its column. */

export type Kind = "encode" | "denoise" | "control" | "decode" | "other";

export interface Part {
  job: string;
  rows: number;
}

/** One batch: `at` is when it ended, in seconds of the worker's clock; `n` counts the worker's batches. */
export interface Tick {
  n: number;
  at: number;
  seconds: number;
  module: string;
  kind: Kind;
  rows: number;
  parts: Part[];
}

/** What is kept of one worker's batches, the oldest first. `ahead_s`: its clock less ours, with the report's way. */
export interface Lane {
  id: string;
  ticks: Tick[];
  ahead_s: number;
}

/** A job's part of a column: rows from the floor up. */
export interface Segment {
  job: string | null;
  from: number;
  rows: number;
}

const MOST = 900;
const KINDS: ReadonlySet<string> = new Set<Kind>(["encode", "denoise", "control", "decode", "other"]);

/** The batches in a worker's facts; what is none is left out. */
export function ticksOf(facts: Record<string, unknown>): Tick[] {
  return Array.isArray(facts.ticks) ? facts.ticks.map(tickOf).filter((tick) => tick !== null) : [];
}

function tickOf(said: unknown): Tick | null {
  if (typeof said !== "object" || said === null) return null;
  const { n, at, seconds, module, kind, rows, jobs } = said as Record<string, unknown>;
  if (typeof n !== "number" || typeof at !== "number" || typeof seconds !== "number") return null;
  return {
    n,
    at,
    seconds,
    module: typeof module === "string" ? module : "",
    kind: typeof kind === "string" && KINDS.has(kind) ? (kind as Kind) : "other",
    rows: typeof rows === "number" ? rows : 0,
    parts: Array.isArray(jobs) ? jobs.map(partOf).filter((part) => part !== null) : [],
  };
}

function partOf(said: unknown): Part | null {
  if (!Array.isArray(said)) return null;
  const [job, rows] = said as unknown[];
  return typeof job === "string" && typeof rows === "number" ? { job, rows } : null;
}

export const emptyLane = (id: string): Lane => ({ id, ticks: [], ahead_s: -Infinity });

/**
 * The lane with what a report adds; `n` rises, so nothing is added twice. The same lane where nothing is new.
 *
 * `reported_s` is the report's time by the worker's clock, `now_s` ours. The report that came the fastest tells best
 * how the clocks differ.
 */
export function added(lane: Lane, ticks: readonly Tick[], reported_s: number, now_s: number): Lane {
  const ahead_s = Math.max(lane.ahead_s, reported_s - now_s);
  const last = lane.ticks.at(-1)?.n ?? 0;
  const fresh = ticks.filter((tick) => tick.n > last).sort((one, other) => one.n - other.n);
  if (fresh.length === 0 && ahead_s === lane.ahead_s) return lane;
  return { ...lane, ahead_s, ticks: [...lane.ticks, ...fresh].slice(-MOST) };
}

/** How many of the ticks had ended by then; they are in order. */
export function endedBy(ticks: readonly Tick[], at: number): number {
  let low = 0;
  let high = ticks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ticks[middle]?.at ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Remembers in which order jobs came, so that a job keeps its place among others from column to column. */
export class Order {
  private firsts = new Map<string, { place: number; tick: Tick }>();
  private next = 0;

  meet(ticks: readonly Tick[]): void {
    for (const tick of ticks) for (const { job } of tick.parts) this.see(job, tick);
    if (this.firsts.size > 5000) this.firsts = new Map([...this.firsts].slice(-2500));
  }

  private see(job: string, tick: Tick): void {
    const first = this.firsts.get(job);
    if (!first) this.firsts.set(job, { place: this.next++, tick });
    else if (first.tick.kind !== "denoise" && tick.kind === "denoise") first.tick = tick;
  }

  of(job: string): number {
    return this.firsts.get(job)?.place ?? Infinity;
  }

  /** The batch in which the job was first denoised; until then the one in which it was first seen. */
  first(job: string): Tick | undefined {
    return this.firsts.get(job)?.tick;
  }
}

/** The column of a batch, from the floor up: the job that came first lies lowest. Rows of nobody's lie on top. */
export function segmentsOf(tick: Tick, order: Order): Segment[] {
  let from = 0;
  const segments: Segment[] = [];
  for (const { job, rows } of tick.parts.toSorted((one, other) => order.of(one.job) - order.of(other.job))) {
    segments.push({ job, from, rows });
    from += rows;
  }
  if (tick.rows > from) segments.push({ job: null, from, rows: tick.rows - from });
  return segments;
}

export interface Column {
  tick: Tick;
  /** Left edge and width in pixels. */
  x: number;
  width: number;
}

/** By time: a column is as wide as its batch took, and ends where it ended; `now` is the right edge. */
export function columnsByTime(ticks: readonly Tick[], now: number, width: number, perSecond: number): Column[] {
  const columns: Column[] = [];
  for (let at = endedBy(ticks, now) - 1; at >= 0; at -= 1) {
    const tick = ticks[at];
    if (!tick) break;
    const right = width - (now - tick.at) * perSecond;
    if (right < 0) break;
    columns.push({ tick, x: right - tick.seconds * perSecond, width: Math.max(1.5, tick.seconds * perSecond) });
  }
  return columns.reverse();
}

/** All equally wide; `shown` of the ticks have come in, a fraction of the last one. */
export function columnsByCount(ticks: readonly Tick[], shown: number, width: number, each: number): Column[] {
  const columns: Column[] = [];
  for (let at = Math.ceil(shown) - 1; at >= 0; at -= 1) {
    const tick = ticks[at];
    const x = width - (shown - at) * each;
    if (!tick || x + each < 0) break;
    columns.push({ tick, x, width: each });
  }
  return columns.reverse();
}

/** The jobs of each lane's last batches, the one that came last first. */
export function jobsIn(lanes: readonly Lane[], order: Order, last = 60): string[] {
  const jobs = new Set<string>();
  for (const { ticks } of lanes) for (const { parts } of ticks.slice(-last)) for (const { job } of parts) jobs.add(job);
  return [...jobs].toSorted((one, other) => order.of(other) - order.of(one));
}

const WIDE_PX = 9;

/** Pixels for a second, so that a usual batch can be seen; it changes only where the old scale fits no longer. */
export function scaleOf(lanes: readonly Lane[], before: number): number {
  const took = lanes.flatMap(({ ticks }) => ticks.slice(-60).map((tick) => tick.seconds)).toSorted((a, b) => a - b);
  const median = took[took.length >> 1];
  if (!median) return before;
  const ideal = Math.min(480, Math.max(30, WIDE_PX / median));
  return ideal > before * 2 || ideal < before / 2 ? ideal : before;
}

/** Mean rows of the last denoising batches; null where there were none. */
export function rowsPerBatch(ticks: readonly Tick[], last = 40): number | null {
  const denoising = ticks.filter((tick) => tick.kind === "denoise").slice(-last);
  return denoising.length ? denoising.reduce((sum, tick) => sum + tick.rows, 0) / denoising.length : null;
}

export const KIND_WORDS: Record<Kind, string> = {
  encode: "reading the prompt",
  denoise: "denoising",
  control: "control picture",
  decode: "developing",
  other: "other work",
};

/** What a screen reader, and the line beneath the lanes, say of a job's part in a batch. */
export function sayingOf(tick: Tick, job: string | null): string {
  const own = tick.parts.find((part) => part.job === job)?.rows ?? 0;
  const others = tick.parts.length - (job === null ? 0 : 1);
  const rows = job === null || own === tick.rows ? `${tick.rows} rows` : `${own} of ${tick.rows} rows`;
  const company = others <= 0 ? "alone" : `with ${others} other ${others === 1 ? "job" : "jobs"}`;
  const took = tick.seconds < 1 ? `${Math.round(tick.seconds * 1000)} ms` : `${tick.seconds.toFixed(2)} s`;
  return [KIND_WORDS[tick.kind], tick.module, tick.rows === 1 ? "1 row" : rows, took, job === null ? "" : company]
    .filter(Boolean)
    .join(" · ");
}

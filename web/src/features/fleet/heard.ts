/** Workers as they were last heard: one that falls silent is lost, and stays in sight for a while before it goes. */

import type { Worker } from "@/lib/api/client";

export interface Heard {
  worker: Worker;
  /** When it last said something new, by our clock, in seconds. */
  heard_s: number;
  /** When its report was last looked at. */
  seen_s: number;
  /** About the longest that it is silent between two reports. */
  beat_s: number;
}

export type Standing = "busy" | "ready" | "starting" | "draining" | "lost";

const LEAST_SILENCE_S = 11; // two beats of a worker that has nothing to do
const IN_SIGHT_S = 75;
const WATCHED_S = 5; // between two looks; after more nobody knows how often it spoke

/** What is known after another look at the workers, `now_s`. */
export function listened(known: readonly Heard[], workers: readonly Worker[], now_s: number): Heard[] {
  const before = new Map(known.map((one) => [one.worker.id, one]));
  const told = workers.map((worker) => hear(before.get(worker.id), worker, now_s));
  const ids = new Set(workers.map((worker) => worker.id));
  const gone = known.filter((one) => !ids.has(one.worker.id) && now_s - one.heard_s < IN_SIGHT_S);
  return [...told, ...gone].toSorted(byId);
}

const byId = (one: Heard, other: Heard): number => (one.worker.id < other.worker.id ? -1 : 1);

function hear(before: Heard | undefined, worker: Worker, now_s: number): Heard {
  if (!before) {
    const old_s = Math.max(0, now_s - Date.parse(worker.at) / 1000);
    return { worker, heard_s: now_s - Math.min(old_s, IN_SIGHT_S), seen_s: now_s, beat_s: 0 };
  }
  if (before.worker.at === worker.at) return { ...before, worker, seen_s: now_s };
  const hasWatched = now_s - before.seen_s < WATCHED_S;
  const beat_s = hasWatched ? Math.max(before.beat_s * 0.9, now_s - before.heard_s) : before.beat_s;
  return { worker, heard_s: now_s, seen_s: now_s, beat_s };
}

export function standingOf({ worker, heard_s, beat_s }: Heard, now_s: number): Standing {
  if (now_s - heard_s > Math.max(LEAST_SILENCE_S, beat_s * 2.2)) return "lost";
  if (worker.state === "draining" || worker.state === "starting") return worker.state;
  return worker.in_flight > 0 ? "busy" : "ready";
}

/** Whether a worker ended because it was asked to. */
export const isDrained = ({ worker }: Heard): boolean => worker.state === "draining";

export interface Facts {
  device: string;
  host: string;
  version: string;
  memory: { used: number; total: number } | null;
  busy: number | null;
  /** How many denoising batches had how many rows, since it started. */
  batches: [rows: number, count: number][];
}

/** A worker's facts, as far as it told them. */
export function factsOf({ facts }: Pick<Worker, "facts">): Facts {
  const text = (name: string): string => (typeof facts[name] === "string" ? facts[name] : "");
  const memory = record(facts.memory);
  const [used, total] = [memory.used_bytes, memory.total_bytes];
  return {
    device: text("device_name") || text("device"),
    host: text("host"),
    version: text("version"),
    memory: typeof used === "number" && typeof total === "number" && total > 0 ? { used, total } : null,
    busy: typeof facts.busy_share === "number" ? facts.busy_share : null,
    batches: Object.entries(record(facts.batches)).map(([rows, count]) => [Number(rows), Number(count)]),
  };
}

const record = (said: unknown): Record<string, unknown> =>
  typeof said === "object" && said !== null ? (said as Record<string, unknown>) : {};

/** Mean rows of a batch since the worker started; null where it ran none. */
export function meanRows(batches: readonly (readonly [number, number])[]): number | null {
  const count = batches.reduce((sum, [, times]) => sum + times, 0);
  return count ? batches.reduce((sum, [rows, times]) => sum + rows * times, 0) / count : null;
}

/** How many workers stand how. */
export function countsOf(known: readonly Heard[], now_s: number): Record<Standing, number> {
  const counts: Record<Standing, number> = { busy: 0, ready: 0, starting: 0, draining: 0, lost: 0 };
  for (const one of known)
    if (!(isDrained(one) && standingOf(one, now_s) === "lost")) counts[standingOf(one, now_s)] += 1;
  return counts;
}

/** A worker's name without what all of them begin with: its process and its own mark. */
export function shortName(id: string): string {
  return id.length > 18 ? `…${id.slice(-16)}` : id;
}

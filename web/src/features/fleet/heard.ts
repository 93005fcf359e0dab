/**
 * Workers as they were last heard. One that stopped by plan has left; one that fell silent without a word is lost. Both
 * stay in sight for a while before they go.
 */

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

export type Standing = "busy" | "ready" | "starting" | "draining" | "left" | "lost";

const LEAST_SILENCE_S = 11; // two beats of a worker that has nothing to do
const IN_SIGHT_S = 75;
const LEFT_IN_SIGHT_S = 30; // nobody need do anything about it
const WATCHED_S = 5; // between two looks; after more nobody knows how often it spoke

/** What is known after another look at the workers, `now_s`. */
export function listened(known: readonly Heard[], workers: readonly Worker[], now_s: number): Heard[] {
  const before = new Map(known.map((one) => [one.worker.id, one]));
  const told = workers.map((worker) => hear(before.get(worker.id), worker, now_s));
  const ids = new Set(workers.map((worker) => worker.id));
  const gone = known.filter((one) => !ids.has(one.worker.id) && now_s - one.heard_s < IN_SIGHT_S);
  return [...told, ...gone].filter((one) => isInSight(one, now_s)).toSorted(byId);
}

const isInSight = (one: Heard, now_s: number): boolean =>
  standingOf(one, now_s) !== "left" || now_s - one.heard_s < LEFT_IN_SIGHT_S;

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
  if (worker.state === "stopped") return "left";
  const isSilent = now_s - heard_s > Math.max(LEAST_SILENCE_S, beat_s * 2.2);
  if (isSilent) return worker.state === "draining" ? "left" : "lost"; // it was on its way out
  if (worker.state === "draining" || worker.state === "starting") return worker.state;
  return worker.in_flight > 0 ? "busy" : "ready";
}

/** Whether it is there no more, by plan or not. */
export const isGone = (standing: Standing): boolean => standing === "left" || standing === "lost";

/** Its standing in words: "busy", "left 12 s ago". */
export function saidOfStanding(one: Heard, now_s: number): string {
  const standing = standingOf(one, now_s);
  if (!isGone(standing)) return standing;
  const silent = `${Math.max(0, Math.round(now_s - one.heard_s))}\u00a0s ago`;
  return standing === "left" ? `left ${silent}` : `lost, heard ${silent}`;
}

export interface Facts {
  device: string;
  host: string;
  version: string;
  memory: { used: number; total: number } | null;
  busy: number | null;
  /** US dollars; 0 where none is set. */
  pricePerHour: number;
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
    pricePerHour: typeof facts.price_per_hour_usd === "number" ? facts.price_per_hour_usd : 0,
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
  const counts: Record<Standing, number> = { busy: 0, ready: 0, starting: 0, draining: 0, left: 0, lost: 0 };
  for (const one of known) counts[standingOf(one, now_s)] += 1;
  return counts;
}

/** What the workers that are there cost an hour, US dollars. */
export function paidPerHour(known: readonly Heard[], now_s: number): number {
  const there = known.filter((one) => !isGone(standingOf(one, now_s)));
  return there.reduce((sum, { worker }) => sum + factsOf(worker).pricePerHour, 0);
}

/** A worker's name without what all of them begin with: its process and its own mark. */
export function shortName(id: string): string {
  return id.length > 18 ? `…${id.slice(-16)}` : id;
}

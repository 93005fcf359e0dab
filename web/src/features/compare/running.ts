/** Cells into jobs, and back out of them. */

import { ApiError } from "@/lib/api/errors";
import { type Waiting, cancelJob, submit } from "@/lib/api/jobs";
import type { JobBody } from "@/lib/jobs";
import { type Pictures, forgetSent, uploaded } from "@/lib/pictures";

import { noteFault, noteJob, noteSending, noteSent, useDesk } from "./desk";
import { atHand, lacking } from "./given";
import { type Cell, bodyOf, sizeOf } from "./grid";

const PARALLEL = 6; // what a browser sends to one place at a time
const LONGEST_WAIT_S = 120;
/** Limits that free as the cells before it end. */
const FREES = new Set(["limit_exceeded", "queue_full"]);

const isWorthWaiting = ({ code, retryAfterS }: ApiError): boolean =>
  FREES.has(code) && retryAfterS !== null && retryAfterS <= LONGEST_WAIT_S;

let stops = new Set<() => void>();

/** Make a job of each cell, a few at a time; cells that are on their way already are left alone. */
export async function make(cells: readonly Cell[]): Promise<void> {
  const { plan, jobs, sending } = useDesk.getState();
  const todo = cells.filter(({ key }) => !(key in sending));
  for (const { key } of todo) noteSending(key, null);
  let isStopped = false;
  const waits = new AbortController();
  const stop = (): void => {
    isStopped = true;
    waits.abort();
  };
  stops.add(stop);
  await inParallel(todo, async (cell) => {
    if (!isStopped) await send(plan.id, cell, jobs[cell.key] ?? "", waits.signal, () => isStopped);
    noteSent(cell.key);
  });
  stops.delete(stop);
}

async function send(grid: string, cell: Cell, before: string, signal: AbortSignal, isStopped: () => boolean) {
  try {
    const job = await overWaits(grid, cell, before, signal);
    noteJob(grid, cell.key, job.id);
    if (isStopped()) await cancelJob(job.id);
  } catch (error) {
    forgetSent();
    if (!isStopped()) noteFault(cell.key, error);
  }
}

/** A request under way is let finish when all is stopped, or nobody would know what became of it; waits are not. */
async function overWaits(grid: string, cell: Cell, before: string, stopped: AbortSignal) {
  const waits = new AbortController();
  const onWait = (error: ApiError): void => {
    noteSending(cell.key, error);
    if (stopped.aborted) waits.abort();
    else stopped.addEventListener("abort", () => waits.abort(), { once: true });
  };
  const waiting = { signal: waits.signal, onWait, isWorthWaiting };
  const body = bodyOf(cell.settings, await picturesOf(cell, waiting));
  return submit(postedOf(grid, cell, body), { key: sendKeyOf(grid, cell, body, before), ...waiting });
}

/** What the cell is made from, sent up at the cell's own size. */
async function picturesOf({ settings }: Cell, waiting: Waiting): Promise<Pictures> {
  if (!settings.start && !settings.control) return {};
  const { given } = useDesk.getState();
  const size = sizeOf(settings.size);
  const lack = lacking(settings, given) || (size ? "" : "Say a size.");
  if (lack || !size) throw new ApiError({ code: "bad_input", message: lack }, 0);
  return uploaded(atHand(settings, given), size, waiting);
}

/** The job as it is posted: with it one finds the grid again. */
export const postedOf = (grid: string, { x, y }: Pick<Cell, "x" | "y">, body: JobBody): JobBody => ({
  ...body,
  metadata: { grid, cell: `${x},${y}` },
});

/** An `Idempotency-Key`: the same cell asked for again is the same job; one after a failed or lost job is another. */
export const sendKeyOf = (grid: string, { x, y }: Pick<Cell, "x" | "y">, body: JobBody, before: string): string =>
  `grid-${grid}-${x}-${y}-${hashOf(JSON.stringify(body))}${before && `-after-${before}`}`;

/** 64 bits of FNV-1a (Fowler, Noll, Vo), as hex. */
function hashOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

/** Nothing more is sent, and what was sent and lives is cancelled. Raises the first refusal, after all were asked. */
export async function cancelAll(live: readonly string[]): Promise<void> {
  const stopping = stops;
  stops = new Set();
  stopping.forEach((stop) => stop());
  const faults: unknown[] = [];
  await inParallel(live, async (id) => {
    await cancelJob(id).catch((error: unknown) => faults.push(error));
  });
  if (faults.length) throw faults[0];
}

async function inParallel<T>(all: readonly T[], act: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const lane = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await act(one);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, left.length) }, lane));
}

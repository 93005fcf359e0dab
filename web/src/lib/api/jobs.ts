/** What can be done with jobs; each keeps the cache as the gateway has it. */

import { type Job, api, dataOf } from "./client";
import { ApiError } from "./errors";
import { keys, queryClient, remember } from "./queries";
import type { JobBody } from "../jobs";
import { randomKey } from "../random";

const PAUSES_MS = [1_000, 2_000, 4_000, 8_000];
/** Faults that say nothing about the request: the same one is sent again, and its key makes one job of it. */
const AGAIN = new Set(["offline", "store_unavailable", "storage_unavailable", "too_busy"]);
/** What a proxy before the gateway answers while that is away. */
const NOBODY_THERE = new Set([502, 504]);

const isWorthAgain = (error: unknown): error is ApiError =>
  error instanceof ApiError && (AGAIN.has(error.code) || NOBODY_THERE.has(error.status));

export interface Waiting {
  signal?: AbortSignal | undefined;
  /** Called with each passing fault, before the pause that follows it. */
  onWait?: ((error: ApiError) => void) | undefined;
  /** What is waited out beside breaks, such as a limit that frees soon. */
  isWorthWaiting?: ((error: ApiError) => boolean) | undefined;
}

/** Make a job; over breaks of the connection it is sent until it is accepted or refused. Raises `ApiError`. */
export async function submit(body: JobBody, { key = randomKey(), ...waiting }: Waiting & { key?: string } = {}) {
  const job = await overBreaks(() => send(body, key, waiting.signal), waiting);
  remember(job);
  queryClient.setQueriesData<string[]>({ queryKey: keys.recent }, (ids) =>
    ids && !ids.includes(job.id) ? [job.id, ...ids] : ids,
  );
  return job;
}

/** Ask until there is an answer, with growing pauses; what may be asked twice without harm. */
export async function overBreaks<T>(ask: () => Promise<T>, waiting: Waiting = {}): Promise<T> {
  const { signal, onWait, isWorthWaiting } = waiting;
  for (let count = 0; ; count += 1) {
    try {
      return await ask();
    } catch (error) {
      const isLimit = error instanceof ApiError && isWorthWaiting?.(error);
      if (!isWorthAgain(error) && !isLimit) throw error;
      onWait?.(error);
      const pause = PAUSES_MS[Math.min(count, PAUSES_MS.length - 1)] ?? 0;
      await sleep(Math.max(pause, (error.retryAfterS ?? 0) * 1000), signal);
    }
  }
}

function send(body: JobBody, key: string, signal: AbortSignal | undefined): Promise<Job> {
  return dataOf(
    api.POST("/v1/jobs", {
      params: { header: { "idempotency-key": key } },
      body: body as never, // the schema's types make what has a default a duty
      ...(signal ? { signal } : {}),
    }),
  );
}

/** Ends early when the connection is back, or with the signal. */
function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      window.clearTimeout(timer);
      window.removeEventListener("online", finish);
      signal?.removeEventListener("abort", finish);
      if (signal?.aborted) reject(new DOMException("not sent", "AbortError"));
      else resolve();
    };
    const timer = window.setTimeout(finish, ms);
    window.addEventListener("online", finish);
    signal?.addEventListener("abort", finish);
    if (signal?.aborted) finish();
  });
}

export async function cancelJob(id: string): Promise<void> {
  remember(await dataOf(api.POST("/v1/jobs/{job_id}/cancel", { params: { path: { job_id: id } } })));
}

/** The job and its pictures; a live one is cancelled first. */
export async function deleteJob(id: string): Promise<void> {
  await api.DELETE("/v1/jobs/{job_id}", { params: { path: { job_id: id } } });
  queryClient.setQueriesData<string[]>({ queryKey: keys.recent }, (ids) => ids?.filter((one) => one !== id));
  queryClient.setQueriesData<readonly { id: string }[]>({ queryKey: keys.library }, (made) =>
    made?.filter((one) => one.id !== id),
  );
  queryClient.removeQueries({ queryKey: keys.job(id) });
}

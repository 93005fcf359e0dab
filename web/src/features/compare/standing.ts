/** What became of each cell, and of all. */

import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";

import { FINAL_STATES, type Job, api, dataOf } from "@/lib/api/client";
import { ApiError, isPassing } from "@/lib/api/errors";
import { keys } from "@/lib/api/queries";
import { seconds } from "@/lib/format";

import { useDesk } from "./desk";
import { type Cell, cellsOf } from "./grid";

export type Status =
  /** Never asked for. */
  | "new"
  | "sending"
  /** The gateway would not take it. */
  | "refused"
  /** The job is known by its id only. */
  | "loading"
  /** The job is no longer there. */
  | "missing"
  /** The job could not be asked for. */
  | "unknown"
  | "live"
  | "done"
  | "failed"
  | "cancelled";

export interface Spot {
  cell: Cell;
  status: Status;
  /** Of the job, where there ever was one. */
  id: string | null;
  job: Job | null;
  error: unknown;
}

/** Every cell of the grid with what is known of it. */
export function useSpots(): Spot[] {
  const { plan, jobs, sending, faults } = useDesk();
  const cells = useMemo(() => cellsOf(plan), [plan]);
  const ids = [...new Set(cells.map(({ key }) => jobs[key] ?? "").filter(Boolean))];
  const found = useQueries({
    queries: ids.map((id) => ({
      queryKey: keys.job(id),
      queryFn: () => dataOf(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } })),
      staleTime: 60_000,
    })),
    combine: (all) => all.map(({ data, error }) => ({ data: data ?? null, error })),
  });
  return cells.map((cell) => {
    const id = jobs[cell.key] ?? null;
    const { data = null, error = null } = (id === null ? undefined : found[ids.indexOf(id)]) ?? {};
    const fault = faults[cell.key] ?? (data ? null : error);
    const status = statusOf(cell.key in sending, cell.key in faults, id, data, error);
    return { cell, status, id, job: data, error: status === "sending" ? (sending[cell.key] ?? null) : fault };
  });
}

export function statusOf(isSending: boolean, isRefused: boolean, id: string | null, job: Job | null, error: unknown) {
  if (isSending) return "sending" satisfies Status;
  if (isRefused) return "refused" satisfies Status;
  if (id === null) return "new" satisfies Status;
  if (job === null) return error === null ? "loading" : isGone(error) ? "missing" : "unknown";
  if (job.state === "succeeded") return job.outputs.length ? "done" : "missing";
  if (job.state === "failed" || job.state === "cancelled") return job.state;
  return "live" satisfies Status;
}

const isGone = (error: unknown): boolean => error instanceof ApiError && error.code === "not_found";

/** Those that can be made: never asked for, or asked for without a picture to show for it. */
const MAKEABLE: ReadonlySet<Status> = new Set(["new", "refused", "missing", "failed", "cancelled"]);

export interface Tally {
  all: number;
  done: number;
  /** Never asked for. */
  fresh: Cell[];
  /** Asked for, and ended without a picture. */
  lost: Cell[];
  /** Ids of jobs that have not ended. */
  live: string[];
  isBusy: boolean;
  /** Why what is on its way waits. */
  wait: unknown;
  /** Why jobs could not be asked for. */
  unknown: unknown;
}

export function tallyOf(spots: readonly Spot[]): Tally {
  const of = (...some: Status[]): Spot[] => spots.filter(({ status }) => some.includes(status));
  return {
    all: spots.length,
    done: of("done").length,
    fresh: of("new").map(({ cell }) => cell),
    lost: spots.filter(({ status }) => status !== "new" && MAKEABLE.has(status)).map(({ cell }) => cell),
    live: of("live").map(({ id }) => id ?? ""),
    isBusy: of("live", "sending").length > 0,
    wait: of("sending").find(({ error }) => error !== null)?.error ?? null,
    unknown: of("unknown").find(({ error }) => isPassing(error))?.error ?? null,
  };
}

/** Where a live job stands, in a few words. */
export function liveText(job: Job): string {
  if (job.is_cancelling) return "Cancelling";
  if (FINAL_STATES.has(job.state)) return "Finishing";
  if (job.state === "queued" || job.state === "scheduled")
    return job.eta_s === null ? "In the queue" : `In the queue, about ${seconds(job.eta_s)}`;
  return job.step ? `Step ${job.step} of ${job.steps}` : "Starting";
}

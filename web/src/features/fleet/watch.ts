/** What the room sees of the fleet: figures every few seconds, workers each second, both only while it is looked at. */

import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import { create } from "zustand";

import { type JobState, type Worker, api, dataOf } from "@/lib/api/client";
import { keys, queryClient, remember } from "@/lib/api/queries";
import { EverybodysFollower } from "@/lib/live";
import { useSession } from "@/lib/session";

import { Colours } from "./colours";
import { type Heard, listened } from "./heard";
import { type Lane, Order, added, emptyLane, scaleOf, ticksOf } from "./ticks";

const TICKS_MS = 1_000;
const FIGURES_MS = 4_000;
const JOBS_MS = 3_000;
export const PAGE = 12;

interface Watch {
  heard: readonly Heard[];
  lanes: Readonly<Record<string, Lane>>;
  /** Pixels for a second of the tick view. */
  perSecond: number;
  /** When the workers were last looked at, in seconds. */
  now_s: number;
}

export const useWatch = create<Watch>(() => ({ heard: [], lanes: {}, perSecond: 100, now_s: 0 }));

/** Places and colours of jobs: the same in all lanes and in the list beneath them. */
export const order = new Order();
export const colours = new Colours();

/** Take in what the workers say now. */
export function take(workers: readonly Worker[], now_s: number = Date.now() / 1000): void {
  useWatch.setState((before) => {
    const heard = listened(before.heard, workers, now_s);
    const lanes = Object.fromEntries(heard.map((one) => laneOf(one, before.lanes, now_s)));
    return { heard, lanes, perSecond: scaleOf(Object.values(lanes), before.perSecond), now_s };
  });
}

function laneOf({ worker }: Heard, lanes: Watch["lanes"], now_s: number): [string, Lane] {
  const before = lanes[worker.id] ?? emptyLane(worker.id);
  const lane = added(before, ticksOf(worker.facts), Date.parse(worker.at) / 1000, now_s);
  if (lane !== before) order.meet(lane.ticks);
  return [worker.id, lane];
}

export const fleetKeys = {
  figures: (window_s: string) => ["fleet", window_s] as const,
  jobs: (state: JobState, cursor: string | null) => ["jobs", "fleet", state, cursor] as const,
  allJobs: ["jobs", "fleet"] as const,
};

export const useFigures = (window_s: string) =>
  useQuery({
    queryKey: fleetKeys.figures(window_s),
    queryFn: () => dataOf(api.GET("/v1/fleet", { params: { query: { window_s: Number(window_s) } } })),
    refetchInterval: FIGURES_MS,
    placeholderData: (before) => before,
  });

export const useWorkers = () =>
  useQuery({
    queryKey: keys.workers,
    queryFn: async () => {
      const { data } = await dataOf(api.GET("/v1/workers", { params: { query: { ticks: true } } }));
      take(data);
      return data.length;
    },
    refetchInterval: TICKS_MS,
    retry: false, // the next look comes in a second
  });

/** A page of everybody's jobs in that state, newest first. */
export const useJobPage = (state: JobState, cursor: string | null) =>
  useQuery({
    queryKey: fleetKeys.jobs(state, cursor),
    queryFn: async () => {
      const query = { state, limit: PAGE, ...(cursor ? { cursor } : {}) };
      const page = await dataOf(api.GET("/v1/jobs", { params: { query } }));
      page.data.forEach(remember);
      return page;
    },
    refetchInterval: JOBS_MS,
    placeholderData: (before) => before,
  });

/** While the room is looked at, everybody's jobs are heard live, step by step. */
export function useEverybodysSteps(): void {
  const key = useSession((session) => session.key);
  useEffect(() => {
    const follower = new EverybodysFollower(() => queryClient.invalidateQueries({ queryKey: fleetKeys.allJobs }));
    follower.start();
    return () => follower.stop();
  }, [key]);
}

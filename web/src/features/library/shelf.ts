/** All that was made, page by page, and what joins it while one looks. */

import { type QueryKey, useQuery } from "@tanstack/react-query";
import { create } from "zustand";

import { type Job, type Schemas, api, dataOf } from "@/lib/api/client";
import { ApiError } from "@/lib/api/errors";
import { overBreaks } from "@/lib/api/jobs";
import { keys, queryClient, remember } from "@/lib/api/queries";

import { type Made, joined, madeOf, united, without } from "./made";

const PAGE = 200;
const FRESH_MS = 30 * 60_000; // addresses of pictures hold for about an hour
const KEPT_MS = 60 * 60_000;
const GATHER_MS = 100;
const AGAIN_MS = 60_000;

type Shelf = readonly Made[];
type Page = Schemas["JobList"];

/** Why the next page is still awaited; null while pages come. */
export const useBreak = create<{ fault: ApiError | null }>(() => ({ fault: null }));

/** What was made, newest first; it grows while pages come (`isFetching`). `tenant`: for operators, who see everybody's. */
export function useShelf(tenant: string | undefined, isKnown: boolean) {
  const queryKey = [...keys.library, tenant ?? null];
  return useQuery({
    queryKey,
    queryFn: () => walk(queryKey, tenant),
    enabled: isKnown,
    staleTime: FRESH_MS,
    gcTime: KEPT_MS,
    structuralSharing: false,
  });
}

const gone = new Set<string>();
const newcomers = new Set<string>();

async function walk(key: QueryKey, tenant: string | undefined): Promise<Shelf> {
  let walked: Shelf = [];
  let cursor: string | null = null;
  newcomers.clear();
  do {
    const query = { state: "succeeded" as const, limit: PAGE, ...(cursor && { cursor }), ...(tenant && { tenant }) };
    const ask = () => dataOf(api.GET("/v1/jobs", { params: { query } }));
    // The first fault is the query's own to tell; later there is something to look at meanwhile.
    const page: Page = await (cursor ? overBreaks(ask, { onWait: (fault) => useBreak.setState({ fault }) }) : ask());
    if (useBreak.getState().fault) useBreak.setState({ fault: null });
    walked = without([...walked, ...page.data.map(madeOf)], gone);
    cursor = page.next_cursor;
    if (cursor) queryClient.setQueryData<Shelf>(key, (shown) => united(walked, shown ?? []));
  } while (cursor);
  const late = (queryClient.getQueryData<Shelf>(key) ?? []).filter((one) => newcomers.has(one.id));
  return without(united(walked, late), gone);
}

/** The gateway has them no more. */
export function drop(ids: Iterable<string>): void {
  for (const id of ids) gone.add(id);
  queryClient.setQueriesData<Shelf>({ queryKey: keys.library }, (made) => made && without(made, gone));
}

let heard: Job[] = [];
let isFollowing = false;

/** From now on whatever ends well joins: the live feed looks at each job that ended, and keeps it in the cache. */
export function follow(): void {
  if (isFollowing) return;
  isFollowing = true;
  queryClient.getQueryCache().subscribe((event) => {
    if (event.type !== "updated" || event.action.type !== "success") return;
    const [all, one] = event.query.queryKey as readonly unknown[];
    if (all === "jobs" && one === "one") hear(event.query.state.data as Job);
  });
}

function hear(job: Job): void {
  if (job.state !== "succeeded" || job.outputs.length === 0 || gone.has(job.id)) return;
  if (heard.length === 0) window.setTimeout(join, GATHER_MS);
  heard.push(job);
}

function join(): void {
  const jobs = heard;
  heard = [];
  for (const [key, made] of queryClient.getQueriesData<Shelf>({ queryKey: keys.library })) {
    const tenant: unknown = key[keys.library.length];
    const known = new Set(made?.map((one) => one.id));
    const fresh = jobs.filter((job) => !known.has(job.id) && (tenant === null || job.tenant === tenant));
    fresh.forEach((job) => newcomers.add(job.id));
    if (made && fresh.length > 0) queryClient.setQueryData<Shelf>(key, joined(made, fresh.map(madeOf)));
  }
}

const asked = new Map<string, number>();

/** Fresh addresses for a job's pictures, where its own have run out; a picture that is gone is not asked for all the time. */
export async function refresh(id: string): Promise<Made | null> {
  if (gone.has(id) || Date.now() - (asked.get(id) ?? -Infinity) < AGAIN_MS) return null;
  asked.set(id, Date.now());
  try {
    const job = await dataOf(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } }));
    const made = madeOf(job);
    remember(job);
    queryClient.setQueriesData<Shelf>({ queryKey: keys.library }, (shown) =>
      shown?.map((one) => (one.id === id ? made : one)),
    );
    return made;
  } catch (error) {
    if (error instanceof ApiError && error.code === "not_found") drop([id]);
    return null; // whoever asked shows that the picture is missing
  }
}

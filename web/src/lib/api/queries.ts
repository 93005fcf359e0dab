/** What the rooms ask of the gateway, each under one cache key. */

import { QueryClient, queryOptions, useQuery } from "@tanstack/react-query";

import { FINAL_STATES, type Job, type Schemas, api, dataOf } from "./client";
import { isPassing } from "./errors";

/** Passing faults are asked again with growing pauses; refusals are told at once. */
export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      retry: (count, error) => isPassing(error) && count < 5,
      retryDelay: (count) => Math.min(500 * 2 ** count, 8_000),
    },
  },
});

export const keys = {
  me: ["me"] as const,
  models: ["models"] as const,
  model: (id: string) => ["models", id] as const,
  adapters: ["adapters"] as const,
  job: (id: string) => ["jobs", "one", id] as const,
  recent: ["jobs", "recent"] as const,
  library: ["jobs", "library"] as const,
  workers: ["workers"] as const,
};

const ME = queryOptions({ queryKey: keys.me, queryFn: () => dataOf(api.GET("/auth/me")), staleTime: 60_000 });

export const useMe = () => useQuery(ME);

const MODELS = queryOptions({
  queryKey: keys.models,
  queryFn: async () => (await dataOf(api.GET("/v1/models"))).data,
  staleTime: 30_000,
});

export const useModels = () => useQuery(MODELS);

export const useModel = (id: string | undefined) =>
  useQuery({
    queryKey: keys.model(id ?? ""),
    queryFn: () => dataOf(api.GET("/v1/models/{model}", { params: { path: { model: id ?? "" } } })),
    enabled: Boolean(id),
    staleTime: 60_000,
  });

export const useAdapters = () =>
  useQuery({ queryKey: keys.adapters, queryFn: async () => (await dataOf(api.GET("/v1/adapters"))).data });

/** One job, from the cache where the live feed keeps it fresh. */
export const useJob = (id: string) =>
  useQuery({
    queryKey: keys.job(id),
    queryFn: () => dataOf(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } })),
    // What has ended changes no more, but the addresses of its pictures run out after an hour.
    staleTime: ({ state }) => (state.data && FINAL_STATES.has(state.data.state) ? 30 * 60_000 : 60_000),
  });

/** How many of the latest jobs are asked for at first. */
export const PAGE = 24;

/** One's own latest jobs; each also fills the cache of its own. */
export function useRecent(limit: number) {
  const { data: me, failureCount } = useMe();
  // Who asks must be known first, or an operator's list would be fetched twice; where that fails, this tells why.
  return useQuery({
    ...recent(limit, me),
    enabled: me !== undefined || failureCount > 0,
    placeholderData: (before) => before,
  });
}

/** Operators see everybody's jobs, unless they say whose they want. */
function recent(limit: number, me: Schemas["Me"] | undefined) {
  const tenant = me?.roles.includes("operator") ? me.tenant : undefined;
  return queryOptions({
    queryKey: [...keys.recent, limit, tenant ?? null],
    queryFn: async () => {
      const query = { limit, ...(tenant ? { tenant } : {}) };
      const found = (await dataOf(api.GET("/v1/jobs", { params: { query } }))).data;
      found.forEach(remember);
      return found.map((job) => job.id);
    },
  });
}

/** What the first room needs, asked for while its scripts are still on their way; faults are told where it is used. */
export function askAhead(): void {
  void queryClient.prefetchQuery(MODELS);
  void queryClient
    .fetchQuery(ME)
    .then((me) => queryClient.prefetchQuery(recent(PAGE, me)))
    .catch(() => undefined);
}

export function remember(job: Job): void {
  queryClient.setQueryData(keys.job(job.id), job);
}

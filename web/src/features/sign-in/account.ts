/** Who is signed in, and what they may use, in words. */

import { dollars, seconds } from "@/lib/format";

import type { Me, Usage } from "./ways";

export function nameOf(me: Me): string {
  return me.is_guest ? "Guest" : (me.email ?? me.tenant);
}

export function roleOf(me: Me): string {
  if (me.is_guest) return "Pictures that you make belong to this browser.";
  if (me.roles.includes("operator")) return "Operator: sees everybody’s jobs, and the fleet";
  return me.email ? "Signed in" : `With the key ${me.key_id ?? ""}`.trim();
}

export interface Used {
  name: string;
  /** Such as "2 of 8". */
  said: string;
  /** 0 to 1; null where there is no limit. */
  share: number | null;
}

/** What was used of each limit, the limits that are there and what has been used without one. */
export function usedOf({ limits, used }: Usage): Used[] {
  const told: Used[] = [];
  const tell = (
    name: string,
    spent: number | undefined,
    limit: number | null,
    say: (value: number) => string,
  ): void => {
    if (spent === undefined || (limit === null && spent === 0)) return;
    const share = limit === null ? null : limit === 0 ? 1 : Math.min(1, spent / limit);
    told.push({ name, said: limit === null ? say(spent) : `${say(spent)} of ${say(limit)}`, share });
  };
  tell("Jobs under way", used?.live_jobs, limits.live_jobs, String);
  tell("Device time today", used?.device_s, limits.device_s_per_day, seconds);
  tell("Cost today", used?.usd, limits.usd_per_day, dollars);
  if (limits.jobs_per_minute !== null)
    told.push({ name: "Jobs a minute", said: `up to ${limits.jobs_per_minute}`, share: null });
  return told;
}

/** When there is more to use; empty where nothing is limited by the day. */
export function renewalOf({ limits, next_job_at, resets_at }: Usage, now: number = Date.now()): string {
  const wait_s = next_job_at ? (Date.parse(next_job_at) - now) / 1000 : 0;
  if (wait_s > 1) return `The next job in ${seconds(wait_s)}.`;
  const isByDay = limits.device_s_per_day !== null || limits.usd_per_day !== null;
  return isByDay ? `Counted anew in ${seconds(Math.max(0, (Date.parse(resets_at) - now) / 1000))}.` : "";
}

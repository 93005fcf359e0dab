/** How a pool stands, in a word. */

import type { Fleet } from "./series";

export type Pool = Fleet["pools"][number];

/** The mark before the word: as of a worker that is ready, one on its way, or none where nobody is there or needed. */
export type Mark = "ready" | "starting" | undefined;

export interface PoolStanding {
  said: string;
  mark: Mark;
}

/** What has yet to come or go before it is as it is to be. */
export function standingOfPool({
  wanted,
  running,
  starting,
  leaving,
}: Pick<Pool, "wanted" | "running" | "starting" | "leaving">): PoolStanding {
  if (wanted === null) return { said: "not decided yet", mark: undefined };
  const missing = wanted - running - starting;
  const parts = [
    starting ? `${starting} starting` : "",
    missing > 0 ? `${missing} to start` : "",
    missing < 0 ? `${-missing} to leave` : "",
    leaving ? `${leaving} leaving` : "",
  ].filter(Boolean);
  if (parts.length) return { said: parts.join(", "), mark: "starting" };
  return wanted ? { said: "as wanted", mark: "ready" } : { said: "nobody is needed", mark: undefined };
}

/** How many it may have: "0 to 2", or one number. */
export const boundsOf = ({
  min_workers: least,
  max_workers: most,
}: Pick<Pool, "min_workers" | "max_workers">): string => (least === most ? String(most) : `${least} to ${most}`);

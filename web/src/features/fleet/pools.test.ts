import { expect, it } from "vitest";

import { boundsOf, standingOfPool } from "./pools";

const pool = (wanted: number | null, running: number, starting = 0, leaving = 0) =>
  standingOfPool({ wanted, running, starting, leaving });

it("a pool says what has yet to come or go", () => {
  expect(pool(null, 1)).toEqual({ said: "not decided yet", mark: undefined });
  expect(pool(0, 0)).toEqual({ said: "nobody is needed", mark: undefined });
  expect(pool(2, 2)).toEqual({ said: "as wanted", mark: "ready" });
  expect(pool(2, 0, 1)).toEqual({ said: "1 starting, 1 to start", mark: "starting" });
  expect(pool(1, 3)).toEqual({ said: "2 to leave", mark: "starting" });
  expect(pool(0, 0, 0, 1)).toEqual({ said: "1 leaving", mark: "starting" });
});

it("bounds that are the same are one number", () => {
  expect(boundsOf({ min_workers: 0, max_workers: 2 })).toBe("0 to 2");
  expect(boundsOf({ min_workers: 3, max_workers: 3 })).toBe("3");
});

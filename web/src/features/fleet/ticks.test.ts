import { describe, expect, it } from "vitest";

import {
  type Lane,
  Order,
  type Tick,
  added,
  columnsByCount,
  columnsByTime,
  emptyLane,
  endedBy,
  jobsIn,
  rowsPerBatch,
  sayingOf,
  scaleOf,
  segmentsOf,
  ticksOf,
} from "./ticks";

const tick = (n: number, jobs: [string, number][], more: Partial<Tick> = {}): Tick => ({
  n,
  at: 100 + n,
  seconds: 0.5,
  module: "unet",
  kind: "denoise",
  rows: jobs.reduce((sum, [, rows]) => sum + rows, 0),
  parts: jobs.map(([job, rows]) => ({ job, rows })),
  ...more,
});
const ordered = (...ticks: Tick[]): Order => {
  const order = new Order();
  order.meet(ticks);
  return order;
};

describe("a worker's facts", () => {
  it("tell its batches, and what is none is left out", () => {
    const said = {
      n: 3,
      at: 5.5,
      seconds: 0.1,
      module: "unet",
      kind: "denoise",
      rows: 2,
      jobs: [["a", 2], "b", [1, 2]],
    };
    expect(ticksOf({ ticks: [said, null, { n: "3" }, 7] })).toEqual([
      { n: 3, at: 5.5, seconds: 0.1, module: "unet", kind: "denoise", rows: 2, parts: [{ job: "a", rows: 2 }] },
    ]);
    expect(ticksOf({})).toEqual([]);
    expect(ticksOf({ ticks: [{ ...said, kind: "new" }] })[0]?.kind).toBe("other");
  });
});

describe("a lane", () => {
  it("takes each batch once, though reports repeat it", () => {
    let lane = added(emptyLane("w"), [tick(1, [["a", 1]]), tick(2, [["a", 1]])], 100, 100);
    lane = added(lane, [tick(2, [["a", 1]]), tick(4, [["a", 1]]), tick(3, [["a", 1]])], 101, 101);
    expect(lane.ticks.map((one) => one.n)).toEqual([1, 2, 3, 4]);
  });

  it("stays the same where nothing is new", () => {
    const lane = added(emptyLane("w"), [tick(1, [["a", 1]])], 100, 100);
    expect(added(lane, [tick(1, [["a", 1]])], 101, 102)).toBe(lane);
  });

  it("knows its worker's clock from the report that came the fastest", () => {
    const lane = added(added(added(emptyLane("w"), [], 50, 100), [], 60.8, 110), [], 62, 113);
    expect(lane.ahead_s).toBeCloseTo(-49.2);
  });

  it("forgets the oldest of very many", () => {
    const many = Array.from({ length: 2000 }, (_, at) => tick(at + 1, [["a", 1]]));
    const lane = added(emptyLane("w"), many, 1, 1);
    expect(lane.ticks.length).toBeLessThan(1000);
    expect(lane.ticks.at(-1)?.n).toBe(2000);
  });
});

describe("a column", () => {
  it("lays the job that came first lowest, whatever the order in the batch", () => {
    const order = ordered(
      tick(1, [["a", 2]]),
      tick(2, [
        ["b", 1],
        ["a", 2],
      ]),
    );
    expect(
      segmentsOf(
        tick(3, [
          ["b", 1],
          ["a", 2],
        ]),
        order,
      ),
    ).toEqual([
      { job: "a", from: 0, rows: 2 },
      { job: "b", from: 2, rows: 1 },
    ]);
  });

  it("falls down when the lowest leaves, and shows nobody's rows on top", () => {
    const order = ordered(
      tick(1, [
        ["a", 2],
        ["b", 1],
      ]),
    );
    expect(segmentsOf(tick(2, [["b", 1]], { rows: 3 }), order)).toEqual([
      { job: "b", from: 0, rows: 1 },
      { job: null, from: 1, rows: 2 },
    ]);
  });

  it("is as wide as its batch took and ends where it ended", () => {
    const ticks = [tick(1, [["a", 1]]), tick(2, [["a", 1]]), tick(9, [["a", 1]])];
    const columns = columnsByTime(ticks, 103, 300, 100);
    expect(columns.map(({ tick: { n }, x, width }) => [n, x, width])).toEqual([
      [1, 50, 50],
      [2, 150, 50],
    ]);
    expect(endedBy(ticks, 100)).toBe(0);
  });

  it("slides in by a fraction where all are equally wide", () => {
    const ticks = [tick(1, [["a", 1]]), tick(2, [["a", 1]]), tick(3, [["a", 1]])];
    expect(columnsByCount(ticks, 2.25, 40, 16).map(({ tick: { n }, x }) => [n, x])).toEqual([
      [1, 4],
      [2, 20],
      [3, 36],
    ]);
    expect(columnsByCount(ticks, 0, 40, 16)).toEqual([]);
  });
});

describe("what is said beside", () => {
  const lane = (ticks: Tick[]): Lane => ({ id: "w", ticks, ahead_s: 0 });

  it("names the jobs, the newest first", () => {
    const ticks = [
      tick(1, [["a", 1]]),
      tick(2, [
        ["b", 1],
        ["a", 1],
      ]),
    ];
    expect(jobsIn([lane(ticks)], ordered(...ticks))).toEqual(["b", "a"]);
  });

  it("counts rows of denoising batches alone", () => {
    expect(rowsPerBatch([tick(1, [["a", 8]], { kind: "encode" }), tick(2, [["a", 2]]), tick(3, [["a", 4]])])).toBe(3);
    expect(rowsPerBatch([])).toBeNull();
  });

  it("tells a job's share of a batch", () => {
    const one = tick(
      2,
      [
        ["a", 2],
        ["b", 3],
      ],
      { seconds: 0.084 },
    );
    expect(sayingOf(one, "a")).toBe("denoising · unet · 2 of 5 rows · 84 ms · with 1 other job");
    expect(sayingOf(tick(2, [["a", 1]]), "a")).toBe("denoising · unet · 1 row · 500 ms · alone");
  });

  it("changes the scale only where batches fit it no longer", () => {
    const quick = [lane([tick(1, [["a", 1]], { seconds: 0.03 })])];
    expect(scaleOf(quick, 200)).toBe(200);
    expect(scaleOf(quick, 100)).toBeCloseTo(300);
    expect(scaleOf([], 100)).toBe(100);
  });
});

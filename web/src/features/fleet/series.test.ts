import { expect, it } from "vitest";

import {
  type Bucket,
  type Fleet,
  deviceOf,
  imagesPerMinute,
  latencyOf,
  rate,
  roomFor,
  saidOfCost,
  saidOfImages,
  saidOfLatency,
  saidOfThroughput,
  throughputOf,
  toldBuckets,
} from "./series";

const bucket = (minute: number, more: Partial<Bucket> = {}): Bucket => ({
  at: new Date(minute * 60_000).toISOString(),
  succeeded: 0,
  failed: 0,
  cancelled: 0,
  images: 0,
  device_s: 0,
  cost_usd: 0,
  p50_s: null,
  p90_s: null,
  p99_s: null,
  ...more,
});
const series = [bucket(1), bucket(2, { succeeded: 3, failed: 1, p50_s: 2, p90_s: 3, p99_s: 9, device_s: 4 })];
const fleet = (totals: Partial<Fleet["totals"]>): Fleet => ({
  at: bucket(3).at,
  window_s: 120,
  is_partial: false,
  queue: { depth: 0, running: 0, scheduled: 0, oldest_s: null, by_model: [] },
  series,
  totals: { ...bucket(0), jobs: 0, cost_per_hour: 0, cost_per_image: null, ...totals },
  tenants: [],
  errors: [],
  scaler: null,
  pools: [],
});

it("a part without jobs is a gap in the latency, and nought elsewhere", () => {
  expect(latencyOf(series)).toEqual([
    [60, 120],
    [null, 2],
    [null, 3],
    [null, 9],
  ]);
  expect(deviceOf(series).slice(0, 2)).toEqual([
    [60, 120],
    [0, 4],
  ]);
});

it("failed jobs stand on top of those that succeeded", () => {
  expect(throughputOf(series).slice(1)).toEqual([
    [0, 4],
    [0, 3],
  ]);
});

it("sentences say what the charts show", () => {
  expect(saidOfLatency(fleet({}))).toBe("Nothing has finished in this time.");
  expect(saidOfLatency(fleet({ p50_s: 2, p90_s: 3, p99_s: 9 }))).toMatch(
    /^Half of all jobs took at most 2.0\u00a0s, .*slowest/,
  );
  expect(saidOfThroughput(fleet({ jobs: 2, succeeded: 1, failed: 1 }))).toBe("1 job succeeded, 1 failed.");
  expect(saidOfThroughput(fleet({ jobs: 4, succeeded: 3, cancelled: 1 }))).toBe(
    "3 jobs succeeded, none failed, 1 cancelled.",
  );
});

it("what workers cost stands beside what jobs were charged with", () => {
  const { totals } = fleet({ cost_usd: 0.5, cost_per_hour: 0.25, cost_per_image: 0.02 });
  expect(saidOfCost(1.5, 2, totals)).toBe("jobs were charged $0.25 an hour, $0.02 an image");
  expect(saidOfCost(1.5, 2, fleet({}).totals)).toBe("jobs were charged nothing yet");
  expect(saidOfCost(0, 2, fleet({}).totals)).toBe("no price is set for them");
  expect(saidOfCost(0, 0, fleet({}).totals)).toBe("none is here");
});

it("a mean says what it is the mean of", () => {
  expect(saidOfImages({ ...fleet({ images: 1 }), window_s: 3600 })).toBe("1 image in the last hour");
  expect(saidOfImages(fleet({ images: 3 }))).toBe("3 images in the last 2\u00a0min 0\u00a0s");
});

it("an axis is as wide as its longest label", () => {
  const measure = (text: string): number => text.length * 6;
  expect(roomFor(["$0", "$0.00012"], measure)).toBe(8 * 6 + 14);
  expect([roomFor([], measure), roomFor(["0"], measure)]).toEqual([36, 36]);
});

it("tables list the parts in which something ended, newest first", () => {
  expect(toldBuckets([...series, bucket(3, { cancelled: 1 })]).map((one) => Date.parse(one.at) / 60_000)).toEqual([
    3, 2,
  ]);
});

it("rates keep two digits where they are small", () => {
  expect(imagesPerMinute(fleet({ images: 3 }))).toBe(1.5);
  expect([0, 0.0512, 1.55, 12.4].map(rate)).toEqual(["0", "0.051", "1.6", "12"]);
});

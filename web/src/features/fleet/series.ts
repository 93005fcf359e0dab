/** The charts' numbers: columns as uPlot takes them, and a sentence that says the same. */

import type { Schemas } from "@/lib/api/client";
import { dollars, seconds } from "@/lib/format";

export type Fleet = Schemas["FleetAnswer"];
export type Bucket = Fleet["series"][number];
type Column = (number | null)[];

/** x in seconds since the epoch, then one column a line. */
export type Columns = [number[], ...Column[]];

const times = (series: readonly Bucket[]): number[] => series.map((bucket) => Date.parse(bucket.at) / 1000);

export function latencyOf(series: readonly Bucket[]): Columns {
  return [
    times(series),
    series.map((bucket) => bucket.p50_s),
    series.map((bucket) => bucket.p90_s),
    series.map((bucket) => bucket.p99_s),
  ];
}

/** Failed jobs stand on top of those that succeeded: the second column is both together, drawn behind the first. */
export function throughputOf(series: readonly Bucket[]): Columns {
  return [
    times(series),
    series.map((bucket) => bucket.succeeded + bucket.failed),
    series.map((bucket) => bucket.succeeded),
  ];
}

export function deviceOf(series: readonly Bucket[]): Columns {
  return [times(series), series.map((bucket) => bucket.device_s), series.map((bucket) => bucket.cost_usd)];
}

export function saidOfLatency({ totals, series }: Fleet): string {
  if (totals.p50_s === null) return "Nothing has finished in this time.";
  const slowest = worst(series, (bucket) => bucket.p99_s);
  const peak = slowest ? ` It was slowest around ${clock(slowest.at)}.` : "";
  return `Half of all jobs took at most ${seconds(totals.p50_s)}, nine in ten ${seconds(totals.p90_s)}, 99 in a hundred ${seconds(totals.p99_s)}.${peak}`;
}

export function saidOfThroughput({ totals }: Fleet): string {
  if (totals.jobs === 0) return "No job has ended in this time.";
  const failed = totals.failed ? `${totals.failed} failed` : "none failed";
  const cancelled = totals.cancelled ? `, ${totals.cancelled} cancelled` : "";
  return `${totals.succeeded} ${totals.succeeded === 1 ? "job" : "jobs"} succeeded, ${failed}${cancelled}.`;
}

export function saidOfDevice({ totals }: Fleet): string {
  if (totals.device_s === 0) return "The devices have done nothing in this time.";
  const cost = totals.cost_usd ? `, which cost ${dollars(totals.cost_usd)}` : "";
  return `Devices worked for ${seconds(totals.device_s)}${cost}.`;
}

/** The buckets in which something ended, newest first: what the table beside a chart lists. */
export function toldBuckets(series: readonly Bucket[]): Bucket[] {
  return series.filter((bucket) => bucket.succeeded + bucket.failed + bucket.cancelled > 0).toReversed();
}

function worst(series: readonly Bucket[], of: (bucket: Bucket) => number | null): Bucket | null {
  let found: Bucket | null = null;
  for (const bucket of series) if ((of(bucket) ?? -1) > (found === null ? -1 : (of(found) ?? -1))) found = bucket;
  return found;
}

export const clock = (at: string): string =>
  new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

export const WINDOWS = [
  { value: "900", label: "15 min" },
  { value: "3600", label: "1 h" },
  { value: "21600", label: "6 h" },
  { value: "86400", label: "24 h" },
] as const;

const AGES: Readonly<Record<number, string>> = {
  900: "quarter of an hour",
  3600: "hour",
  21600: "6\u00a0hours",
  86400: "24\u00a0hours",
};

/** What the rate is the mean of: "12 images in the last hour". */
export function saidOfImages({ totals, window_s }: Pick<Fleet, "totals" | "window_s">): string {
  const age = AGES[window_s] ?? seconds(window_s);
  return `${totals.images} ${totals.images === 1 ? "image" : "images"} in the last ${age}`;
}

/** What stands beside the `paid` dollars an hour for the workers that are `there`. */
export function saidOfCost(paid: number, there: number, totals: Fleet["totals"]): string {
  const { cost_usd, cost_per_hour, cost_per_image } = totals;
  if (paid === 0 && cost_usd === 0) return there ? "no price is set for them" : "none is here";
  if (cost_usd === 0) return "jobs were charged nothing yet";
  const each = cost_per_image === null ? "" : `, ${dollars(cost_per_image)} an image`;
  return `jobs were charged ${dollars(cost_per_hour)} an hour${each}`;
}

const LEAST_ROOM = 36;
const AXIS_GAP = 14; // between labels and the lines, and a little at the edge

/** How wide an axis with these labels must be, in the pixels that `measure` has. */
export const roomFor = (labels: readonly (string | null)[], measure: (text: string) => number): number =>
  Math.max(LEAST_ROOM, Math.ceil(Math.max(0, ...labels.map((label) => measure(label ?? "")))) + AXIS_GAP);

/** Pictures in a minute, over the window. */
export const imagesPerMinute = ({ totals, window_s }: Fleet): number => totals.images / (window_s / 60);

/** A rate as people read it: few digits, and no zero where there is something. */
export function rate(value: number): string {
  if (value === 0) return "0";
  return value < 10 ? value.toPrecision(2) : String(Math.round(value));
}

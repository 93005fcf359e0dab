/** What a grid will take, from what finished jobs of its models took. */

import type { Job, Model } from "@/lib/api/client";

import { type Settings, sizeOf } from "./grid";

/** Device seconds and dollars; null where nothing like it was ever made. */
export interface Estimate {
  device_s: number;
  cost_usd: number | null;
}

/** As the client gives it; its types know pairs as lists. */
type Known = Pick<Model, "id" | "presets"> & {
  default_size: readonly number[] | null;
  sizes: readonly (readonly number[])[];
};

interface Rate {
  perWork: number;
  usdPerSecond: number | null;
}

/** Model calls times pixels: what the time goes with. Guidance above 1 calls the model twice a step. */
function work(steps: number, guidance: number, width: number, height: number): number {
  return steps * (guidance > 1 ? 2 : 1) * width * height;
}

/** Work of a cell; null where its model or preset is not known. */
export function workOf(settings: Settings, models: readonly Known[]): number | null {
  const model = models.find(({ id }) => id === settings.model);
  if (!model) return null;
  const usual = "quality" in model.presets ? "quality" : (Object.keys(model.presets)[0] ?? "");
  const preset = model.presets[settings.preset ?? usual];
  const steps = settings.steps ?? preset?.num_inference_steps;
  const [width, height] = sizeOf(settings.size) ?? model.default_size ?? model.sizes[0] ?? [];
  if (!steps || !width || !height) return null;
  const share = settings.start?.strength ?? 1; // of the steps: the first ones are left out
  return work(steps * share, settings.guidance ?? preset?.guidance_scale ?? 7.5, width, height);
}

function rateOf(model: string, past: readonly Job[]): Rate | null {
  const rates = past.flatMap((job) => {
    const done = job.model === model && job.task === "text-to-image" ? workOfJob(job) : null;
    const { device_s, cost_usd } = job.metrics;
    if (!done || !device_s) return [];
    return [{ perWork: device_s / done, usdPerSecond: cost_usd === null ? null : cost_usd / device_s }];
  });
  const dollars = rates.map((rate) => rate.usdPerSecond).filter((rate) => rate !== null);
  if (rates.length === 0) return null;
  return {
    perWork: median(rates.map((rate) => rate.perWork)),
    usdPerSecond: dollars.length ? median(dollars) : null,
  };
}

function workOfJob({ input }: Job): number | null {
  const number = (name: string, otherwise = 0): number => (typeof input[name] === "number" ? input[name] : otherwise);
  const calls = number("num_inference_steps") * number("num_images_per_prompt", 1);
  return work(calls, number("guidance_scale", 7.5), number("width"), number("height")) || null;
}

const median = (values: readonly number[]): number =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;

/** All cells together; null where one of them is like nothing that was made before. */
export function estimateOf(
  cells: readonly Settings[],
  models: readonly Known[],
  past: readonly Job[],
): Estimate | null {
  const rates = new Map([...new Set(cells.map(({ model }) => model))].map((id) => [id, rateOf(id, past)]));
  let device_s = 0;
  let cost_usd: number | null = 0;
  for (const settings of cells) {
    const rate = rates.get(settings.model);
    const amount = workOf(settings, models);
    if (!rate || amount === null) return null;
    device_s += amount * rate.perWork;
    cost_usd =
      cost_usd === null || rate.usdPerSecond === null ? null : cost_usd + amount * rate.perWork * rate.usdPerSecond;
  }
  return { device_s, cost_usd };
}

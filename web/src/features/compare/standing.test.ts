import { expect, test } from "vitest";

import type { Job } from "@/lib/api/client";
import { ApiError } from "@/lib/api/errors";

import { estimateOf } from "./estimate";
import { EMPTY, type Plan, axisOf, cellsOf } from "./grid";
import { withSaved } from "./saved";
import { type Spot, type Status, statusOf, tallyOf } from "./standing";

const job = (change: Record<string, unknown>): Job => ({ outputs: [], ...change }) as unknown as Job;
const GONE = new ApiError({ code: "not_found", message: "" }, 404);
const AWAY = new ApiError({ code: "offline", message: "" }, 0);

test.each([
  ["new", false, false, null, null, null],
  ["sending", true, false, "job-1", null, null],
  ["refused", false, true, null, null, null],
  ["loading", false, false, "job-1", null, null],
  ["missing", false, false, "job-1", null, GONE],
  ["unknown", false, false, "job-1", null, AWAY],
  ["live", false, false, "job-1", job({ state: "queued" }), null],
  ["live", false, false, "job-1", job({ state: "running" }), AWAY],
  ["done", false, false, "job-1", job({ state: "succeeded", outputs: [{}] }), null],
  ["missing", false, false, "job-1", job({ state: "succeeded" }), null],
  ["failed", false, false, "job-1", job({ state: "failed" }), null],
  ["cancelled", false, false, "job-1", job({ state: "cancelled" }), null],
])("a cell is %s", (status, isSending, isRefused, id, of, error) => {
  expect(statusOf(isSending, isRefused, id, of, error)).toBe(status);
});

const PLAN: Plan = {
  id: "abc",
  settings: { ...EMPTY, model: "m", size: "100x100", steps: 10, guidance: 4 },
  across: axisOf("seed", [1, 2, 3, 4, 5]),
  down: null,
};

test("the tally tells what can be made from what was lost and what is under way", () => {
  const statuses: Status[] = ["new", "live", "done", "failed", "missing"];
  const spots = cellsOf(PLAN).map((cell, at): Spot => {
    const status = statuses[at] ?? "new";
    return { cell, status, id: `job-${at}`, job: null, error: null };
  });
  const tally = tallyOf(spots);
  expect([tally.all, tally.done, tally.isBusy, tally.live]).toEqual([5, 1, true, ["job-1"]]);
  expect([tally.fresh.map(({ x }) => x), tally.lost.map(({ x }) => x)]).toEqual([[0], [3, 4]]);
});

const MODEL = {
  id: "m",
  presets: { quality: { num_inference_steps: 20, guidance_scale: 1, solver: null, adapters: {} } },
  default_size: [200, 100],
  sizes: [],
};

/** Ten seconds for ten steps of 100 by 100 with guidance. */
const past = (device_s: number, cost_usd: number | null = null) =>
  job({
    model: "m",
    task: "text-to-image",
    input: { num_inference_steps: 10, guidance_scale: 4, width: 100, height: 100 },
    metrics: { device_s, cost_usd },
  });

test("an estimate goes with steps, size and guidance, by the median of the past", () => {
  const settings = cellsOf(PLAN).map((cell) => cell.settings);
  expect(estimateOf(settings, [MODEL], [past(9, 0.9), past(10, 1), past(99, 9.9)])).toEqual({
    device_s: 50,
    cost_usd: 5,
  });
  const usual = { ...EMPTY, model: "m" };
  expect(estimateOf([usual], [MODEL], [past(10)])).toEqual({ device_s: 20, cost_usd: null });
});

test("what was never made is not guessed", () => {
  expect(estimateOf([{ ...EMPTY, model: "m" }], [MODEL], [])).toBeNull();
  expect(estimateOf([{ ...EMPTY, model: "other" }], [MODEL], [past(10)])).toBeNull();
});

test("saved grids: the newest first, each once, a limited number", () => {
  const saved = (id: string, at: number) => ({ id, title: id, note: "", at, link: "z" });
  const many = Array.from({ length: 24 }, (_, at) => saved(`g${at}`, at));
  const after = withSaved(many, saved("g7", 99));
  expect([after.length, after[0]?.at, after.filter(({ id }) => id === "g7").length]).toEqual([24, 99, 1]);
  expect(withSaved(many, saved("new", 99))).toHaveLength(24);
});

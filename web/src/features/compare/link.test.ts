import { expect, test } from "vitest";

import { EMPTY, type Plan, axisOf, cellsOf } from "./grid";
import { gridOf, linkOf } from "./link";

const PLAN: Plan = {
  id: "abc",
  settings: {
    ...EMPTY,
    model: "landscapes",
    prompt: 'ein Fuchs – 狐, "?&#',
    seed: 7,
    guidance: 2.5,
    adapters: { neon: 0.5 },
  },
  across: axisOf("size", ["192x192", "320x192"]),
  down: axisOf("negative", ["", "rain"]),
};

const hex = (at: number): string => `job-${((at + 1) * 0x9e3779b1).toString(16).padStart(24, "a")}`;

function packed(value: unknown): string {
  return `p${btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

test("what goes into a link comes out of it, with the job of each cell that has one", async () => {
  const keys = cellsOf(PLAN).map(({ key }) => key);
  const jobs = { [keys[0] ?? ""]: hex(0), [keys[3] ?? ""]: hex(3) };
  const link = await linkOf(PLAN, { ...jobs, gone: hex(9) });
  expect(link).toMatch(/^z[\w-]+$/);
  expect(await gridOf(link)).toEqual({ plan: PLAN, jobs });
});

test("pictures go in by their names, and links from before there were any open as they did", async () => {
  const start = { picture: "0123456789abcdef", x: 0.5, y: 0.25, mask: "fedcba9876543210", strength: 0.4 };
  const plan = { ...PLAN, settings: { ...PLAN.settings, start, control: { picture: "c", x: 0, y: 1, scale: 0.8 } } };
  expect((await gridOf(await linkOf(plan, {})))?.plan).toEqual(plan);
  const old = [1, "abc", ["m", "a", "", null, null, null, null, null, 1, {}], 0, 0, []];
  expect((await gridOf(packed(old)))?.plan.settings).toMatchObject({ prompt: "a", start: null, control: null });
  const wrong = [1, "abc", ["m", "a", "", null, null, null, null, null, 1, {}, ["<b>", 0, 0, "", 1]], 0, 0, []];
  expect(await gridOf(packed(wrong))).toBeNull();
});

test("a grid of 8 by 8 stays below 3,000 characters", async () => {
  const plan = {
    ...PLAN,
    across: axisOf("steps", [1, 2, 3, 4, 5, 6, 7, 8]),
    down: axisOf("seed", [1, 2, 3, 4, 5, 6, 7, 8]),
  };
  const jobs = Object.fromEntries(cellsOf(plan).map(({ key }, at) => [key, hex(at)]));
  const link = await linkOf(plan, jobs);
  expect(link.length).toBeLessThan(3000);
  expect((await gridOf(link))?.jobs).toEqual(jobs);
});

const SETTINGS = ["m", "p", "", null, null, null, null, null, 7, {}];

test("a plain link is read as well", async () => {
  const opened = await gridOf(packed([1, "abc", SETTINGS, ["steps", "", [4]], 0, []]));
  expect(opened?.plan.across).toEqual(axisOf("steps", [4]));
});

test.each([
  ["another version", [2, "abc", SETTINGS, 0, 0, []]],
  ["an id that is a path", [1, "../x", SETTINGS, 0, 0, []]],
  ["a seed in words", [1, "abc", SETTINGS.with(8, "7"), 0, 0, []]],
  ["weights in words", [1, "abc", SETTINGS.with(9, { neon: "much" }), 0, 0, []]],
  ["an unknown setting", [1, "abc", SETTINGS, ["colour", "", ["red"]], 0, []]],
  ["text where numbers are due", [1, "abc", SETTINGS, ["steps", "", ["4"]], 0, []]],
  ["too many values", [1, "abc", SETTINGS, ["steps", "", [1, 2, 3, 4, 5, 6, 7, 8, 9]], 0, []]],
  ["no grid", { plan: 1 }],
])("%s is refused", async (_, value) => {
  expect(await gridOf(packed(value))).toBeNull();
});

test.each(["", "z", "z!!", "zAAAA", "x123"])("the link %j holds no grid", async (link) => {
  expect(await gridOf(link)).toBeNull();
});

test("job ids that are none are left out", async () => {
  const opened = await gridOf(packed([1, "abc", SETTINGS, ["steps", "", [4, 8]], 0, ["../../auth", "job-1"]]));
  expect(Object.values(opened?.jobs ?? {})).toEqual(["job-1"]);
});

test("a small link that unpacks to very much is refused", async () => {
  const long: Plan = { ...PLAN, settings: { ...PLAN.settings, prompt: "a".repeat(500_000) } };
  const link = await linkOf(long, {});
  expect(link.length).toBeLessThan(5000);
  expect(await gridOf(link)).toBeNull();
});

import { expect, test } from "vitest";

import { ALL, choicesOf, countChosen, filterFrom, paramsOf, piecesOf, presetOf, wordsOf } from "./filter";
import { sample } from "./samples";

const FOX = sample({
  id: "job-f0cafe01",
  prompt: "A red Fox",
  seed: 41,
  adapters: { neon: 1 },
  at: "2030-01-31T12:00:00Z",
});
const OWL = sample({
  id: "job-0badbeef",
  prompt: "an owl at night",
  negative: "fog",
  seed: 9,
  at: "2030-01-30T12:00:00Z",
});
const LAKE = sample({
  id: "job-1a2e0000",
  model: "sdxl",
  task: "inpaint",
  count: 2,
  size: [320, 192],
  at: "2030-01-29T12:00:00Z",
});
const MADE = [FOX, OWL, LAKE];
const found = (change: Partial<typeof ALL>, presets = {}): string[] =>
  piecesOf(MADE, { ...ALL, ...change }, presets).map(({ made }) => made.id);

test("all words must be there, in whatever case and place", () => {
  expect(found({ words: "fox RED" })).toEqual([FOX.id]);
  expect(found({ words: "fox owl" })).toEqual([]);
  expect(found({ words: "" })).toEqual([FOX.id, OWL.id, LAKE.id, LAKE.id]);
});

test("what is quoted stays together", () => {
  expect(wordsOf('red "an owl" x')).toEqual(["red", "an owl", "x"]);
  expect(found({ words: '"owl at"' })).toEqual([OWL.id]);
  expect(found({ words: '"at owl"' })).toEqual([]);
});

test("negative prompts, models, adapters, seeds and ids are searched, too", () => {
  expect(found({ words: "fog" })).toEqual([OWL.id]);
  expect(found({ words: "sdxl" })).toEqual([LAKE.id, LAKE.id]);
  expect(found({ words: "neon" })).toEqual([FOX.id]);
  expect(found({ words: "41" })).toEqual([FOX.id]);
  expect(found({ words: "0badbeef" })).toEqual([OWL.id]);
});

test("an image of a job is found by its own seed", () => {
  expect(piecesOf(MADE, { ...ALL, words: "8" }).map(({ seed }) => seed)).toEqual([8]);
});

test("a short number is a seed and no piece of an id", () => {
  expect(found({ words: "1a2e" })).toEqual([]);
});

test("what was chosen must all hold", () => {
  expect(found({ model: "landscapes" })).toEqual([FOX.id, OWL.id]);
  expect(found({ task: "inpaint", size: "320x192" })).toEqual([LAKE.id, LAKE.id]);
  expect(found({ task: "inpaint", size: "256x256" })).toEqual([]);
  expect(found({ way: "adapter:neon" })).toEqual([FOX.id]);
});

test("both days are included, and a day that is none bounds nothing", () => {
  const day = (at: string): string => new Date(at).toLocaleDateString("sv");
  expect(found({ from: day("2030-01-30T12:00:00Z"), to: day("2030-01-30T12:00:00Z") })).toEqual([OWL.id]);
  expect(found({ from: "yesterday" })).toHaveLength(4);
});

test("the oldest come first where they are wanted so", () => {
  expect(found({ order: "oldest" })).toEqual([LAKE.id, LAKE.id, OWL.id, FOX.id]);
});

test("a preset is known by its settings", () => {
  const presets = {
    landscapes: { fast: { num_inference_steps: 10 }, quality: { num_inference_steps: 30, solver: "ddim" } },
  };
  expect(presetOf(FOX, presets)).toBe("quality");
  expect(presetOf(LAKE, presets)).toBeNull();
  expect(found({ way: "preset:quality" }, presets)).toEqual([FOX.id, OWL.id]);
  expect(found({ way: "preset:fast" }, presets)).toEqual([]);
});

test("what is asked for survives the address, and what is not leaves no trace there", () => {
  const filter = { ...ALL, words: "a & b", way: "adapter:neon", from: "2030-01-01", order: "oldest" as const };
  expect(filterFrom(new URLSearchParams(paramsOf(filter).toString()))).toEqual(filter);
  expect(paramsOf(ALL).toString()).toBe("");
  expect(countChosen(filter)).toBe(2);
  expect(filterFrom(new URLSearchParams("sort=sideways")).order).toBe("newest");
});

test("there is to choose from what was made", () => {
  expect(choicesOf(MADE, { sdxl: { fast: {} }, other: { slow: {} } })).toEqual({
    models: ["landscapes", "sdxl"],
    tasks: ["inpaint", "text-to-image"],
    sizes: ["320x192", "256x256"],
    adapters: ["neon"],
    presets: ["fast"],
  });
});

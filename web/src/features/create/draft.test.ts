import { expect, test } from "vitest";

import { OFFER as SAMPLE } from "@/lib/offer.sample";

import { EMPTY, adaptersOf, bodyOf, draftFrom, isDraft, seedOf, shownOf, withAdapter, withPreset } from "./draft";

const preset = (steps: number, guidance: number, solver: string, adapters = {}) => ({
  num_inference_steps: steps,
  guidance_scale: guidance,
  solver,
  adapters,
});

const OFFER = {
  ...SAMPLE,
  presets: {
    fast: preset(10, 4, "dpm++2m"),
    quality: preset(30, 4, "dpm++2m"),
    turbo: preset(4, 1, "ddim", { turbo: 1 }),
  },
  defaultPreset: "quality",
  adapters: ["neon", "turbo"],
};
const FOX = { ...EMPTY, prompt: " a fox " };

test("a bare draft asks for the default preset and size, with a seed to be drawn", () => {
  expect(bodyOf(FOX, OFFER)).toEqual({
    model: "landscapes",
    input: { prompt: "a fox", preset: "quality", width: 256, height: 256 },
  });
});

test("what was changed is said beside the preset, and shown over it", () => {
  const draft = { ...withPreset(FOX, "fast"), steps: 12 };
  expect(bodyOf(draft, OFFER).input).toMatchObject({ preset: "fast", num_inference_steps: 12 });
  expect(shownOf(draft, OFFER)).toMatchObject({ steps: 12, guidance: 4, solver: "dpm++2m", isChanged: true });
});

test("choosing a preset lets changed values go and keeps added adapters", () => {
  const draft = withPreset(withAdapter({ ...FOX, steps: 12 }, OFFER, "neon", 0.5), "turbo");
  expect(shownOf(draft, OFFER)).toMatchObject({ steps: 4, adapters: { turbo: 1, neon: 0.5 }, isChanged: false });
  expect(bodyOf(draft, OFFER).input.adapters).toEqual({ neon: 0.5 });
});

test("an adapter of the preset that was taken away gets weight 0", () => {
  const draft = withAdapter(withPreset(FOX, "turbo"), OFFER, "turbo", null);
  expect(adaptersOf(draft, OFFER)).toEqual({});
  expect(bodyOf(draft, OFFER).input.adapters).toEqual({ turbo: 0 });
});

test("an added adapter that is taken away leaves no trace", () => {
  expect(withAdapter(withAdapter(FOX, OFFER, "neon", 1), OFFER, "neon", null)).toEqual(FOX);
});

test("what another model offered is not asked of this one", () => {
  const draft = { ...FOX, solver: "heun", size: [512, 512] as const, adapters: { ink: 1 }, preset: "slow" };
  expect(bodyOf(draft, OFFER).input).toEqual({ prompt: "a fox", preset: "quality", width: 256, height: 256 });
});

test("a seed is sent only while it is locked", () => {
  expect(bodyOf({ ...FOX, seed: "7" }, OFFER).input.seed).toBeUndefined();
  expect(bodyOf({ ...FOX, seed: "7", isSeedLocked: true }, OFFER).input.seed).toBe(7);
});

test("strength goes with a picture only", () => {
  expect(bodyOf(FOX, OFFER).input.strength).toBeUndefined();
  expect(bodyOf(FOX, OFFER, { image: "abc" }).input).toMatchObject({ image: "abc", strength: 0.7 });
});

test("seeds that a browser would round are none", () => {
  expect([seedOf("0"), seedOf("9007199254740991"), seedOf("9007199254740993"), seedOf("-1"), seedOf("a")]).toEqual([
    0,
    9007199254740991,
    null,
    null,
    null,
  ]);
});

test("a job's own input becomes the draft that asks for it again", () => {
  const input = {
    prompt: "a fox",
    negative_prompt: "fog",
    num_inference_steps: 4,
    guidance_scale: 1,
    solver: "ddim",
    adapters: { turbo: 1 },
    width: 320,
    height: 192,
    seed: 12,
    num_images_per_prompt: 2,
  };
  const draft = draftFrom(input, "landscapes", OFFER, EMPTY);
  expect(draft).toMatchObject({ preset: "turbo", steps: null, adapters: {}, size: [320, 192], isSeedLocked: true });
  expect(bodyOf(draft, OFFER).input).toEqual({
    prompt: "a fox",
    negative_prompt: "fog",
    preset: "turbo",
    width: 320,
    height: 192,
    seed: 12,
    num_images_per_prompt: 2,
  });
});

test("settings that no preset has are kept as changes of the default one", () => {
  const draft = draftFrom({ prompt: "x", num_inference_steps: 7, guidance_scale: 4 }, "landscapes", OFFER, EMPTY);
  expect(draft).toMatchObject({ preset: "quality", steps: 7, guidance: null });
});

test("what an earlier page kept is taken only if it is a draft", () => {
  expect(isDraft(JSON.parse(JSON.stringify(FOX)))).toBe(true);
  expect(isDraft({ prompt: 3 })).toBe(false);
});

test("a plain pipeline is sent what it takes and nothing else", () => {
  const own = { choices: [], min: null, max: null, usual: "", description: "" };
  const offer = {
    ...OFFER,
    presets: {},
    defaultPreset: "",
    inputs: ["prompt", "background", "keep", "is_framed", "seed"],
    own: [
      { ...own, name: "background", kind: "string" as const },
      { ...own, name: "keep", kind: "number" as const },
      { ...own, name: "is_framed", kind: "boolean" as const },
    ],
  };
  const draft = {
    ...FOX,
    negativePrompt: "rain",
    steps: 9,
    own: { background: "a lake", keep: "0.4", is_framed: "true" },
  };
  expect(bodyOf(draft, offer).input).toEqual({ prompt: "a fox", background: "a lake", keep: 0.4, is_framed: true });
  expect(bodyOf({ ...draft, own: { keep: "much" } }, offer).input).toEqual({ prompt: "a fox", keep: "much" });
  expect(draftFrom({ prompt: "a fox", keep: 0.4 }, "landscapes", offer, EMPTY).own).toEqual({ keep: "0.4" });
});

import { expect, test } from "vitest";

import { NO_MARGINS } from "@/lib/margins";
import type { Extra } from "@/lib/offer";
import { OFFER as SAMPLE } from "@/lib/offer.sample";

import { EMPTY, bodyOf, draftFrom } from "./draft";
import { extraShown, hintOf, withExtra, withMargin } from "./extras";

const FRAMES: Extra = { name: "num_frames", label: "Frames", min: 1, max: 257, step: 4, usual: 81, hint: "" };
const RATE: Extra = { name: "frame_rate", label: "Frames a second", min: 1, max: 60, step: 1, usual: 16, hint: "" };
const SECONDS: Extra = {
  name: "audio_end_in_s",
  label: "Seconds",
  min: 0.1,
  max: 47.55,
  step: 0.1,
  usual: 47.55,
  hint: "",
};
const REFINER: Extra = {
  name: "denoising_end",
  label: "Refiner",
  min: 0.01,
  max: 0.99,
  step: 0.01,
  usual: null,
  hint: "",
};

const offerWith = (...extras: Extra[]) => ({
  ...SAMPLE,
  extras,
  inputs: [...SAMPLE.inputs, "ip_adapter_image", "ip_adapter_scale", ...extras.map(({ name }) => name)],
});
const VIDEO = offerWith(FRAMES, RATE);
const WAVES = { ...EMPTY, prompt: "waves" };

test("what nobody changed is left to the model", () => {
  expect(bodyOf(WAVES, VIDEO).input).not.toHaveProperty("num_frames");
  expect([extraShown({}, FRAMES), extraShown({}, REFINER)]).toEqual([81, null]);
});

test("what was changed is sent, as the nearest number that the model takes", () => {
  const extras = withExtra(withExtra({}, FRAMES, 18), RATE, 23.976);
  expect(bodyOf({ ...WAVES, extras }, VIDEO).input).toMatchObject({ num_frames: 17, frame_rate: 23.976 });
  expect(withExtra({}, FRAMES, 257)).toEqual({ num_frames: 257 });
  expect(withExtra({}, { ...FRAMES, step: 10 }, 256)).toEqual({ num_frames: 251 });
  expect(withExtra(extras, FRAMES, 81)).toEqual({ frame_rate: 23.976 });
});

test("what another model was told is not asked of this one", () => {
  const extras = { num_frames: 13, audio_end_in_s: 2.5, denoising_end: 0.8 };
  expect(bodyOf({ ...WAVES, extras }, offerWith({ ...FRAMES, step: 8 })).input).toEqual(bodyOf(WAVES, SAMPLE).input);
  expect(bodyOf({ ...WAVES, extras }, offerWith(SECONDS)).input).toMatchObject({ audio_end_in_s: 2.5 });
  expect(bodyOf({ ...WAVES, extras: { audio_end_in_s: 60 } }, offerWith(SECONDS)).input).not.toHaveProperty(
    "audio_end_in_s",
  );
});

test("a refiner is left out until it is asked for", () => {
  const offer = offerWith(REFINER);
  expect(bodyOf(WAVES, offer).input).not.toHaveProperty("denoising_end");
  const extras = withExtra({}, REFINER, 0.8);
  expect(bodyOf({ ...WAVES, extras }, offer).input.denoising_end).toBe(0.8);
  expect(withExtra(extras, REFINER, null)).toEqual({});
});

test("a job's or a picture's own settings bring them back, and ask for the same", () => {
  const input = {
    prompt: "waves",
    num_frames: 17,
    frame_rate: 16,
    denoising_end: 0.7,
    ip_adapter_scale: 0.6,
    outpaint: { left: 64, right: 0, top: 0, bottom: 0 },
    width: 320,
    height: 192,
  };
  const offer = offerWith(FRAMES, RATE, REFINER);
  const draft = draftFrom(input, "landscapes", offer, { ...EMPTY, extras: { num_frames: 5 } });
  expect(draft).toMatchObject({ extras: { num_frames: 17, denoising_end: 0.7 }, imagePromptScale: 0.6 });
  const again = bodyOf(draft, offer, { image: "abc", ip_adapter_image: "def" }).input;
  const { frame_rate: usual, ...said } = input;
  expect(usual).toBe(RATE.usual);
  expect(again).toMatchObject(said);
  expect(draftFrom({ prompt: "waves" }, "landscapes", offer, draft)).toMatchObject({ extras: {}, margins: NO_MARGINS });
});

test("margins go with a picture that has no mask, and a scale with a picture that prompts", () => {
  const draft = { ...WAVES, margins: { ...NO_MARGINS, top: 32 } };
  expect(bodyOf(draft, VIDEO).input).not.toHaveProperty("outpaint");
  expect(bodyOf(draft, VIDEO).input).not.toHaveProperty("ip_adapter_scale");
  expect(bodyOf(draft, VIDEO, { image: "a" }).input.outpaint).toEqual(draft.margins);
  expect(bodyOf(draft, VIDEO, { image: "a", mask_image: "b" }).input).not.toHaveProperty("outpaint");
  expect(bodyOf(draft, { ...VIDEO, widestMargin: null }, { image: "a" }).input).not.toHaveProperty("outpaint");
});

test("the canvas grows by a margin where the model makes it so large, else the picture becomes smaller", () => {
  const free = { ...SAMPLE, sizes: [] };
  const grown = withMargin([256, 256], NO_MARGINS, "left", 64, free);
  expect(grown).toEqual({ size: [320, 256], margins: { ...NO_MARGINS, left: 64 } });
  expect(withMargin(grown.size, grown.margins, "left", 0, free).size).toEqual([256, 256]);
  expect(withMargin([256, 256], NO_MARGINS, "left", 64, SAMPLE).size).toEqual([256, 256]);
});

test("what the numbers come to is said beneath them", () => {
  expect(hintOf(FRAMES, { num_frames: 33 }, VIDEO, 25)).toBe("2.1\u00a0s of video.");
  expect(hintOf(REFINER, { denoising_end: 0.8 }, offerWith(REFINER), 25)).toBe(
    "The model takes 20 of 25 steps, the refiner the last 5.",
  );
});

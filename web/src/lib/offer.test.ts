import { expect, test } from "vitest";

import { offerOf } from "./offer";

type Answer = Parameters<typeof offerOf>[0];

const model = (properties: object, more: Partial<Answer> = {}): Answer => ({
  id: "waves",
  input: { properties: { prompt: { type: "string" }, ...properties } },
  presets: {},
  solvers: [],
  adapters: [],
  tasks: ["text-to-video"],
  layout: { frame_step: 4 },
  sizes: [],
  default_size: null,
  ...more,
});
const FRAMES = { type: "integer", minimum: 1, maximum: 257, default: 81 };

test("numbers that only some models take become sliders with the schema's bounds", () => {
  const schema = {
    num_frames: FRAMES,
    frame_rate: { type: "number", minimum: 1, maximum: 60, default: 16 },
    audio_end_in_s: { type: "number", minimum: 0.1, maximum: 47.5548, default: 47.5548 },
    denoising_end: { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 },
    motion_bucket: { type: "integer", minimum: 0, maximum: 255, default: 127, description: "how much moves" },
  };
  expect(offerOf(model(schema)).extras).toMatchObject([
    { name: "num_frames", label: "Frames", min: 1, max: 257, step: 4, usual: 81 },
    { name: "frame_rate", label: "Frames a second", min: 1, max: 60, step: 1, usual: 16 },
    { name: "audio_end_in_s", label: "Seconds", min: 0.1, max: 47.55, step: 0.1, usual: 47.55 },
    { name: "denoising_end", label: "Refiner", min: 0.01, max: 0.99, step: 0.01, usual: null },
    { name: "motion_bucket", label: "Motion bucket", step: 1, usual: 127, hint: "how much moves" },
  ]);
  expect(offerOf(model(schema))).toMatchObject({ own: [], noun: "video" });
  expect(offerOf(model({})).extras).toEqual([]);
});

test("pictures and margins have controls of their own, choices a select", () => {
  const offer = offerOf(
    model({
      ip_adapter_image: { type: "string" },
      ip_adapter_scale: { type: "number", minimum: 0, maximum: 2, default: 1 },
      outpaint: { type: "object", properties: { left: { type: "integer", maximum: 512 } } },
      prompt_style: { type: "string", enum: ["plain", "weighted"], default: "plain" },
    }),
  );
  expect(offer).toMatchObject({ imagePromptScale: { min: 0, max: 2 }, widestMargin: 512, extras: [] });
  expect(offer.own.map(({ name }) => name)).toEqual(["prompt_style"]);
  expect(offerOf(model({}))).toMatchObject({ imagePromptScale: null, widestMargin: null, own: [] });
});

test("of a plain pipeline they are inputs of its own: what they mean is its function's", () => {
  const offer = offerOf(model({ num_frames: FRAMES, background: { type: "string" } }, { tasks: ["pipeline"] }));
  expect(offer.extras).toEqual([]);
  expect(offer.own.map(({ name }) => name)).toEqual(["num_frames", "background"]);
});

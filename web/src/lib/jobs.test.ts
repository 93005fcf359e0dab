import { expect, test } from "vitest";

import type { Job } from "./api/client";
import { again, commandOf, fileNameOf, frameOf, hasExactSeed, repeated, varied } from "./jobs";

const JOB = {
  model: "landscapes",
  input: {
    prompt: "it's a fox",
    negative_prompt: "fog",
    num_inference_steps: 10,
    guidance_scale: 4,
    width: 320,
    height: 192,
    seed: 7,
    num_images_per_prompt: 2,
    adapters: { neon: 0.5 },
    image: "abc",
    strength: 0.6,
  },
  output: { format: "webp" },
} as unknown as Job;

test("repeating keeps everything and asks for the same pixels", () => {
  expect(repeated(JOB)).toEqual({
    model: "landscapes",
    input: { ...JOB.input, reproducible: true },
    output: { format: "webp" },
  });
});

test("one picture of several is made again alone", () => {
  expect(again(JOB, { seed: 8 }).input).toMatchObject({ seed: 8, num_images_per_prompt: 1 });
});

test("varying changes the seed alone", () => {
  expect(varied(JOB, 99).input).toEqual({ ...JOB.input, seed: 99, reproducible: false });
  expect(varied(JOB).input.seed).not.toBe(varied(JOB).input.seed);
});

test("the command names every setting, quoted for a shell", () => {
  expect(commandOf(JOB)).toBe(
    "darkroom generate 'it'\\''s a fox' --model landscapes --negative fog --steps 10 --guidance 4 --size 320x192 " +
      "--seed 7 --images 2 --init-image IMAGE.png --strength 0.6 --adapter neon=0.5",
  );
});

test("seeds that JavaScript rounds are known", () => {
  expect(hasExactSeed(JOB)).toBe(true);
  expect(hasExactSeed({ ...JOB, input: { seed: 2 ** 60 } })).toBe(false);
});

test("files are called after the prompt and the seed", () => {
  expect(fileNameOf(JOB, { seed: 8, content_type: "image/webp" })).toBe("it-s-a-fox-8.webp");
  expect(fileNameOf({ ...JOB, input: { prompt: "…" } }, { seed: 1, content_type: "image/png" })).toBe("picture-1.png");
});

test("frames are known before there are pictures", () => {
  expect(frameOf(JOB.input)).toEqual({ width: 320, height: 192, count: 2 });
  expect(frameOf({})).toEqual({ width: 1, height: 1, count: 1 });
});

test("the command for a plain pipeline has its own inputs", () => {
  const input = { prompt: "a fox", background: "a lake", keep: 0.4, seed: 7, num_images_per_prompt: 1 };
  const job = { ...JOB, model: "shot", task: "pipeline", input };
  expect(commandOf(job)).toBe(
    "darkroom generate 'a fox' --model shot --seed 7 --input 'background=a lake' --input keep=0.4",
  );
});

test("the command names frames, image prompts, margins and where a refiner goes on", () => {
  const input = {
    prompt: "waves",
    ip_adapter_image: "abc",
    ip_adapter_scale: 0.5,
    outpaint: { left: 64, right: 0, top: 8, bottom: 0 },
    denoising_end: 0.8,
    num_frames: 17,
    frame_rate: 12,
  };
  expect(commandOf({ ...JOB, input })).toBe(
    "darkroom generate waves --model landscapes --ip-adapter-image PROMPT.png --ip-adapter-scale 0.5 " +
      "--outpaint left=64,top=8 --denoising-end 0.8 --frames 17 --fps 12",
  );
});

import type { Offer } from "./offer";

/** What a model takes, for tests: the small one that comes with the service, nearly. */
export const OFFER: Offer = {
  model: "landscapes",
  presets: {},
  defaultPreset: "",
  solvers: ["ddim", "dpm++2m"],
  adapters: ["neon"],
  maxAdapters: 8,
  sizes: [
    [256, 256],
    [320, 192],
  ],
  defaultSize: [256, 256],
  sides: { min: 64, max: 2048 },
  multiple: 16,
  steps: { min: 1, max: 1000 },
  guidance: { min: 0, max: 50 },
  images: { min: 1, max: 16 },
  strength: { min: 0, max: 1 },
  promptLength: 2000,
  makesPictures: true,
  noun: "image",
  hasSize: true,
  takesImage: true,
  takesMask: true,
  controlScale: null,
  imagePromptScale: null,
  widestMargin: 2048,
  extras: [],
  inputs: [
    ...["prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "width", "height", "seed", "preset"],
    ...["num_images_per_prompt", "solver", "image", "mask_image", "strength", "control_image", "reproducible"],
    ...["controlnet_conditioning_scale", "adapters", "adapter_digests", "outpaint"],
  ],
  own: [],
};

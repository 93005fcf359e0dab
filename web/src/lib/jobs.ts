/** A job said again: as a new job, as JSON, as a command line. */

import type { Artifact, Job, Schemas } from "./api/client";
import { type Margins, marginsOf, marginsSaid } from "./margins";
import { KNOWN, PLAIN } from "./offer";
import { randomSeed } from "./random";

export type JobInput = Partial<Schemas["JobBody"]["input"]> & {
  prompt: string;
  control_image?: string;
  controlnet_conditioning_scale?: number;
  num_frames?: number;
  frame_rate?: number;
  audio_end_in_s?: number;
  prompt_style?: "plain" | "weighted";
  ip_adapter_image?: string;
  ip_adapter_scale?: number;
  outpaint?: Partial<Margins>;
  denoising_end?: number;
};

export interface JobBody {
  model?: string;
  input: JobInput;
  output?: { format: Format; keep_metadata?: boolean };
  metadata?: Record<string, unknown>;
}

export type Format = "png" | "jpeg" | "webp";

export const inputOf = (job: Job): JobInput => ({ prompt: "", ...job.input });

/** The same again; with an image of it, that one alone. */
export function again(job: Job, of?: Pick<Artifact, "seed">): JobBody {
  const input = { ...inputOf(job), ...(of ? { seed: of.seed ?? 0, num_images_per_prompt: 1 } : {}) };
  const format = formatOf(job);
  return { model: job.model, input, ...(format === "png" ? {} : { output: { format } }) };
}

/** The same settings with another seed. */
export function varied(job: Job, seed: number = randomSeed()): JobBody {
  const body = again(job);
  return { ...body, input: { ...body.input, seed, reproducible: false } };
}

/** The same pixels, in whatever company it runs. */
export function repeated(job: Job, of?: Pick<Artifact, "seed">): JobBody {
  const body = again(job, of);
  return { ...body, input: { ...body.input, reproducible: true } };
}

/** Whether JavaScript kept the seed as it is; above 2^53 it is rounded. */
export function hasExactSeed(job: Job): boolean {
  return job.input.seed === undefined || Number.isSafeInteger(job.input.seed);
}

export function formatOf(job: Job): Format {
  const said = job.output.format;
  return said === "jpeg" || said === "webp" ? said : "png";
}

export function settingsJson(job: Job, of?: Pick<Artifact, "seed">): string {
  return JSON.stringify(again(job, of), null, 2);
}

/** The command that makes it without a server. Pictures it was made from are not files there; their places are named. */
export function commandOf(job: Job, of?: Pick<Artifact, "seed">): string {
  const input = again(job, of).input;
  const flags: [string, unknown][] = [
    ["model", job.model],
    ["negative", input.negative_prompt],
    ["steps", input.num_inference_steps],
    ["guidance", input.guidance_scale],
    ["size", input.width && input.height ? `${input.width}x${input.height}` : undefined],
    ["seed", input.seed],
    ["solver", input.solver],
    ["images", input.num_images_per_prompt === 1 ? undefined : input.num_images_per_prompt],
    ["init-image", input.image && "IMAGE.png"],
    ["strength", input.strength],
    ["mask", input.mask_image && "MASK.png"],
    ["control-image", input.control_image && "CONTROL.png"],
    ["control-scale", input.controlnet_conditioning_scale],
    ["ip-adapter-image", input.ip_adapter_image && "PROMPT.png"],
    ["ip-adapter-scale", input.ip_adapter_scale],
    ["outpaint", input.outpaint && marginsSaid(marginsOf(input.outpaint))],
    ["denoising-end", input.denoising_end],
    ["frames", input.num_frames],
    ["fps", input.frame_rate],
    ["seconds", input.audio_end_in_s],
    ["weighted", input.prompt_style === "weighted" ? true : undefined],
    ...Object.entries(input.adapters ?? {}).map(([name, weight]): [string, unknown] => [
      "adapter",
      `${name}=${weight}`,
    ]),
    ...ownOf(job).map((said): [string, unknown] => ["input", said]),
  ];
  const said = flags.filter(([, value]) => value !== undefined && value !== "" && value !== null);
  const words = said.map(([name, value]) => (value === true ? `--${name}` : `--${name} ${quoted(String(value))}`));
  return ["darkroom generate", quoted(input.prompt), ...words].join(" ");
}

/** What a plain pipeline was told of its own, as NAME=VALUE. */
function ownOf(job: Job): string[] {
  const said = Object.entries(job.task === PLAIN ? job.input : {});
  return said.flatMap(([name, value]) => (KNOWN.has(name) ? [] : [`${name}=${String(value)}`]));
}

/** A word as a POSIX shell takes it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** What to call the file of an output. */
export function fileNameOf(job: Job, output: Pick<Artifact, "seed" | "content_type">): string {
  return nameOf(inputOf(job).prompt, [output.seed ?? 0], output.content_type);
}

const SUFFIXES: Readonly<Record<string, string>> = {
  "image/jpeg": "jpg",
  "image/webp": "webp",
  "video/mp4": "mp4",
  "audio/wav": "wav",
};

/** A file's name from the first words of a prompt, and what tells it from others. */
export function nameOf(prompt: string, ends: readonly (string | number)[], contentType: string): string {
  const words = prompt
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, "-")
    .replaceAll(/^-|-$/g, "")
    .slice(0, 48);
  const suffix = SUFFIXES[contentType] ?? "png";
  return `${[words || "picture", ...ends].join("-")}.${suffix}`;
}

export interface Frame {
  width: number;
  height: number;
  count: number;
}

/** The frames of its pictures, known before there are any. */
export function frameOf(input: Record<string, unknown>): Frame {
  const number = (name: string, otherwise: number): number => {
    const said = input[name];
    return typeof said === "number" && said > 0 ? said : otherwise;
  };
  return { width: number("width", 1), height: number("height", 1), count: number("num_images_per_prompt", 1) };
}

/** What was made, as small as ten thousand of it must be: of each job what is searched and shown, of each picture its frame. */

import type { Artifact, Job } from "@/lib/api/client";
import { inputOf } from "@/lib/jobs";

export interface Made {
  id: string;
  /** When it was asked for, in milliseconds since the epoch. */
  at: number;
  model: string;
  task: string;
  prompt: string;
  /** Prompt, negative prompt, model, adapters and solver in lower case: what search looks at. */
  words: string;
  adapters: readonly string[];
  steps: number | null;
  guidance: number | null;
  solver: string | null;
  pieces: readonly Piece[];
}

/** One picture of a job. */
export interface Piece {
  id: string;
  made: Made;
  url: string;
  type: string;
  seed: number;
  width: number;
  height: number;
  /** In bytes. */
  size: number;
}

export function madeOf(job: Job): Made {
  const input = inputOf(job);
  const adapters = Object.keys(input.adapters ?? {});
  const pieces: Piece[] = [];
  const made: Made = {
    id: job.id,
    at: Date.parse(job.created_at),
    model: job.model,
    task: job.task,
    prompt: input.prompt,
    words: [input.prompt, input.negative_prompt, job.model, ...adapters, input.solver]
      .filter(Boolean)
      .join("\n")
      .toLowerCase(),
    adapters,
    steps: input.num_inference_steps ?? null,
    guidance: input.guidance_scale ?? null,
    solver: input.solver ?? null,
    pieces,
  };
  pieces.push(...job.outputs.map((output) => pieceOf(output, made)));
  return made;
}

function pieceOf(output: Artifact, made: Made): Piece {
  return {
    id: output.artifact_id,
    made,
    url: output.url,
    type: output.content_type,
    seed: output.seed ?? 0,
    width: output.width ?? 1,
    height: output.height ?? 1,
    size: output.size,
  };
}

/** All of both, the newest first; where both have a job, the first list's look at it counts. */
export function united(some: readonly Made[], others: readonly Made[]): readonly Made[] {
  const known = new Set(some.map((one) => one.id));
  const more = others.filter((one) => !known.has(one.id));
  if (more.length === 0) return some;
  // Sorting keeps the order of equals: the gateway's own.
  return [...some, ...more].sort((one, other) => other.at - one.at);
}

/** What was just heard of, among the rest; a new look at a job takes the place of the old. */
export function joined(made: readonly Made[], fresh: readonly Made[]): readonly Made[] {
  const looks = new Map(fresh.map((one) => [one.id, one]));
  return united(
    made.map((one) => looks.get(one.id) ?? one),
    fresh,
  );
}

export const without = (made: readonly Made[], ids: ReadonlySet<string>): readonly Made[] =>
  ids.size === 0 ? made : made.filter((one) => !ids.has(one.id));

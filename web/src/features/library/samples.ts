/** Things made, for tests. */

import { type Made, type Piece, madeOf } from "./made";
import type { Job } from "@/lib/api/client";

interface Said {
  id?: string;
  at?: string;
  prompt?: string;
  negative?: string;
  model?: string;
  task?: string;
  seed?: number;
  steps?: number;
  adapters?: Record<string, number>;
  count?: number;
  size?: readonly [number, number];
}

export function sample({
  id = "job-aaaa1111",
  at = "2030-01-31T12:00:00.000Z",
  prompt = "a lake",
  negative = "",
  model = "landscapes",
  task = "text-to-image",
  seed = 7,
  steps = 30,
  adapters = {},
  count = 1,
  size: [width, height] = [256, 256],
}: Said = {}): Made {
  const outputs = Array.from({ length: count }, (_, at) => ({
    artifact_id: `${id.replace("job", "art")}-${at}`,
    url: `http://x/${id}/${at}`,
    content_type: "image/png",
    width,
    height,
    seed: seed + at,
    size: 1000,
  }));
  const input = {
    prompt,
    negative_prompt: negative,
    num_inference_steps: steps,
    guidance_scale: 4,
    solver: "ddim",
    adapters,
  };
  return madeOf({ id, created_at: at, model, task, input, outputs } as unknown as Job);
}

export const piecesIn = (made: readonly Made[]): Piece[] => made.flatMap(({ pieces }) => pieces);

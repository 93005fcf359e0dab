/** What another room hands to Create: a picture to start from, or a job whose settings to take up. */

import { create } from "zustand";

import type { Artifact, Job } from "./api/client";

export type Handed =
  { kind: "picture"; job: Job; output: Artifact } | { kind: "settings"; job: Job; output?: Artifact | undefined };

export const useHandover = create<{ handed: Handed | null }>(() => ({ handed: null }));

/** Go to Create after this; it takes it up and lets it go. */
export const handOver = (handed: Handed | null): void => useHandover.setState({ handed });

/** The prompt that is being composed in Create, for rooms that begin with it. */

import { stored } from "./stored";

/** Where Create keeps its draft. */
export const DRAFT = "darkroom.create.draft";

let live: string | null = null;

/** It is this now, in this page. */
export const compose = (prompt: string): void => {
  live = prompt;
};

/** As Create has it in this page, else as an earlier page left it; empty where nobody has written any. */
export const composed = (): string => live ?? stored(DRAFT, hasPrompt)?.prompt ?? "";

function hasPrompt(value: unknown): value is { prompt: string } {
  return typeof value === "object" && value !== null && "prompt" in value && typeof value.prompt === "string";
}

/** Prompts used before, the latest first. */

const MOST = 50;

/** The prompts with this one at the front, each only once. */
export function added(prompts: readonly string[], prompt: string): string[] {
  const said = prompt.trim();
  return said ? [said, ...prompts.filter((one) => one !== said)].slice(0, MOST) : [...prompts];
}

/** A walk through them: `at` 0 is what is being written, 1 the latest, and so on. */
export interface Walk {
  at: number;
  written: string;
}

export const START: Walk = { at: 0, written: "" };

/** One step back (1) or forth (-1) from what the box holds; null where there is nothing further. */
export function walked(
  prompts: readonly string[],
  walk: Walk,
  shown: string,
  by: 1 | -1,
): { walk: Walk; prompt: string } | null {
  const written = walk.at === 0 ? shown : walk.written;
  const others = walk.at === 0 ? prompts.findIndex((one) => one === shown.trim()) + 1 : 0; // do not show the same again
  const at = walk.at + by + (by > 0 ? others : 0);
  if (at < 0) return null;
  if (at === 0) return { walk: START, prompt: written };
  const prompt = prompts[at - 1];
  return prompt === undefined ? null : { walk: { at, written }, prompt };
}

export function isPrompts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

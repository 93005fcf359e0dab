/** Prompts to begin with, for models that we know. */

const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  landscapes: [
    "A beautiful sunset over mountains",
    "A lighthouse on the left under a starry night sky",
    "Snow falling on pines beside a lake at dawn",
    "A sailboat on a calm sea, full moon, a few clouds",
    "Two palms by the sea in the evening",
    "A small house on green hills, morning rain",
  ],
};

export const examplesOf = (model: string): readonly string[] => EXAMPLES[model] ?? [];

/** Margins that are painted around a picture, in pixels, and what they leave of a canvas. No browser in here. */

import type { Size } from "./offer";

export const SIDES = ["left", "right", "top", "bottom"] as const;
export type Side = (typeof SIDES)[number];
export type Margins = Readonly<Record<Side, number>>;

export const NO_MARGINS: Margins = { left: 0, right: 0, top: 0, bottom: 0 };

export const hasMargins = (margins: Margins): boolean => SIDES.some((side) => margins[side] > 0);

/** The picture's part of a canvas; not above 0 where the margins leave nothing of it. */
export const innerOf = ([width, height]: Size, { left, right, top, bottom }: Margins): Size => [
  width - left - right,
  height - top - bottom,
];

export const isThere = (size: Size): boolean => size.every((side) => side > 0);

/** The canvas around a picture. */
export const canvasOf = ([width, height]: Size, { left, right, top, bottom }: Margins): Size => [
  width + left + right,
  height + top + bottom,
];

/** As a job's input says them; a side that is not said is 0. */
export function marginsOf(said: unknown): Margins {
  if (typeof said !== "object" || said === null) return NO_MARGINS;
  const margins = said as Readonly<Record<string, unknown>>;
  const pixels = (side: Side): number => (typeof margins[side] === "number" ? margins[side] : 0);
  return { left: pixels("left"), right: pixels("right"), top: pixels("top"), bottom: pixels("bottom") };
}

/** As a command line takes them: those above 0. */
export const marginsSaid = (margins: Margins, between = ","): string =>
  SIDES.filter((side) => margins[side] > 0)
    .map((side) => `${side}=${margins[side]}`)
    .join(between);

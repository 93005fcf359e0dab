/** Numbers that only some models take, and margins around a picture: what is shown, sent and read back. No browser in here. */

import type { JobInput } from "@/lib/jobs";
import { type Margins, type Side, canvasOf, innerOf } from "@/lib/margins";
import { type Extra, type Offer, type Size, isOffered } from "@/lib/offer";

/** By the API's names; what is not in it is as the model has it. */
export type Extras = Readonly<Record<string, number>>;

const isTaken = (value: number, { min, max, step }: Extra): boolean =>
  value >= min && value <= max && (step <= 1 || (value - min) % step === 0);

/** What is said of it where this model takes that; null: nothing. */
function saidOf(extras: Extras, extra: Extra): number | null {
  const said = extras[extra.name];
  return said !== undefined && isTaken(said, extra) ? said : null;
}

/** What its control shows; null while it is left out. */
export const extraShown = (extras: Extras, extra: Extra): number | null => saidOf(extras, extra) ?? extra.usual;

/** What another value makes of it, the nearest that is taken; null leaves it to the model. */
export function withExtra(extras: Extras, extra: Extra, value: number | null): Extras {
  const others = Object.fromEntries(Object.entries(extras).filter(([name]) => name !== extra.name));
  if (value === null || value === extra.usual) return others;
  const { min, max, step, name } = extra;
  const near = step > 1 ? min + Math.round((value - min) / step) * step : value;
  return { ...others, [name]: near > max ? near - step : near };
}

export function extrasInput(extras: Extras, offer: Offer): Partial<JobInput> {
  const said = offer.extras.map((extra) => [extra.name, saidOf(extras, extra)] as const);
  return Object.fromEntries(said.filter(([, value]) => value !== null));
}

/** Those that ask for this again: the input of a job, or what a picture says of itself. */
export function extrasFrom(input: Record<string, unknown>, offer: Offer): Extras {
  const said = offer.extras.flatMap(({ name, usual }) => {
    const value = input[name];
    return typeof value === "number" && value !== usual ? [[name, value] as const] : [];
  });
  return Object.fromEntries(said);
}

/** Beneath a control: what its value comes to. */
export function hintOf(extra: Extra, extras: Extras, offer: Offer, steps: number): string {
  const value = extraShown(extras, extra);
  const rate = offer.extras.find(({ name }) => name === "frame_rate");
  const perSecond = rate && extraShown(extras, rate);
  if (extra.name === "num_frames" && value && perSecond) return `${(value / perSecond).toFixed(1)}\u00a0s of video.`;
  if (extra.name !== "denoising_end" || value === null) return extra.hint;
  const first = Math.round(value * steps);
  return `The model takes ${first} of ${steps} steps, the refiner the last ${steps - first}.`;
}

/** Where a control that was left out begins: SDXL's refiner was trained for the last fifth. */
export const beginningOf = ({ name, min }: Extra): number => (name === "denoising_end" ? 0.8 : min);

/** Another margin: the canvas grows by it where the model makes that size, else the picture becomes smaller. */
export function withMargin(size: Size, margins: Margins, side: Side, pixels: number, offer: Offer) {
  const next = { ...margins, [side]: pixels };
  const grown = canvasOf(innerOf(size, margins), next);
  return { size: isOffered(grown, offer) ? grown : size, margins: next };
}

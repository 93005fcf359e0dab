/** Fitting a picture to a size that the model makes: which part of it is taken. Pixels; no browser in here. */

import type { Offer, Size } from "./offer";

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Where the part that is taken lies in what could be: 0 left or top, 1 right or bottom. */
export interface Focus {
  x: number;
  y: number;
}

export const CENTRE: Focus = { x: 0.5, y: 0.5 };

/** The largest part of the source with the target's shape, at the focus. */
export function cropOf([width, height]: Size, [targetWidth, targetHeight]: Size, focus: Focus): Rect {
  const scale = Math.min(width / targetWidth, height / targetHeight);
  const part = { width: targetWidth * scale, height: targetHeight * scale };
  return { x: (width - part.width) * focus.x, y: (height - part.height) * focus.y, ...part };
}

/** The focus after the picture was pulled by so many pixels of the source. */
export function pulled(focus: Focus, source: Size, target: Size, by: Focus): Focus {
  const part = cropOf(source, target, CENTRE);
  const along = (at: number, room: number, pull: number): number =>
    room < 0.5 ? at : Math.min(1, Math.max(0, at - pull / room));
  return {
    x: along(focus.x, source[0] - part.width, by.x),
    y: along(focus.y, source[1] - part.height, by.y),
  };
}

/** The offered size whose shape is nearest; of those alike the default, else the largest. */
export function fittingSize(source: Size, offer: Offer): Size {
  if (offer.sizes.length === 0) return freeSize(source, offer);
  const score = (size: Size): number => {
    const isDefault = size[0] === offer.defaultSize[0] && size[1] === offer.defaultSize[1];
    return distance(source, size) - (isDefault ? 1e-3 : 0) - (size[0] * size[1]) / 1e12;
  };
  return offer.sizes.reduce(
    (best, size) => (score(size) < score(best) ? size : best),
    offer.sizes[0] ?? offer.defaultSize,
  );
}

const distance = (one: Size, other: Size): number =>
  Math.abs(Math.log(one[0] / one[1]) - Math.log(other[0] / other[1]));

/** About as many pixels as the default size has, in the source's own shape. */
function freeSize([width, height]: Size, { defaultSize, sides, multiple }: Offer): Size {
  const scale = Math.sqrt((defaultSize[0] * defaultSize[1]) / (width * height));
  const side = (length: number): number => {
    const lowest = Math.ceil(sides.min / multiple) * multiple;
    const highest = Math.floor(sides.max / multiple) * multiple;
    return Math.min(highest, Math.max(lowest, Math.round((length * scale) / multiple) * multiple));
  };
  return [side(width), side(height)];
}

/** What was done to a picture, in words. */
export function cropSaid(source: Size, target: Size): string {
  const from = `${source[0]} × ${source[1]}`;
  const to = `${target[0]} × ${target[1]}`;
  if (from === to) return `${to}, as it is`;
  const isCut = distance(source, target) > 0.005;
  const isResized = !isCut || cropOf(source, target, CENTRE).width !== target[0];
  const done = [isCut && "cropped", isResized && "resized"].filter(Boolean).join(" and ");
  return `${from} ${done} to ${to}`;
}

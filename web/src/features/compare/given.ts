/** Pictures that all cells are made from: how a grid names them, and whether they are at hand. No browser in here. */

import { isDrawn } from "@/lib/mask";
import { type Given, type Pictures, type Placed, digestOf } from "@/lib/pictures";

/** A picture by a digest of its bytes, and which part of it is taken. */
interface Named {
  picture: string;
  x: number;
  y: number;
}

export interface Start extends Named {
  /** A digest of what was painted; empty where nothing was. */
  mask: string;
  strength: number;
}

export interface Control extends Named {
  scale: number;
}

/** What a grid says of its pictures. */
export interface Wanted {
  start: Start | null;
  control: Control | null;
}

const named = ({ source, focus }: Placed): Named => ({
  picture: source.id,
  x: Number(focus.x.toFixed(3)),
  y: Number(focus.y.toFixed(3)),
});

const maskOf = ({ mask }: Placed): string =>
  isDrawn(mask) ? digestOf(new TextEncoder().encode(JSON.stringify(mask.done))) : "";

export const startOf = (placed: Placed, strength: number): Start => ({
  ...named(placed),
  mask: maskOf(placed),
  strength,
});

export const controlOf = (placed: Placed, scale: number): Control => ({ ...named(placed), scale });

const cut = (placed: Placed, { x, y }: Named): Placed => ({ ...placed, focus: { x, y } });

/** Of the pictures on the table those that the grid is made from, cut as the grid says. */
export function atHand({ start, control }: Wanted, given: Given): Given {
  const isStart = start && given.start?.source.id === start.picture && maskOf(given.start) === start.mask;
  const isControl = control && given.control?.source.id === control.picture;
  return {
    start: isStart && given.start ? cut(given.start, start) : null,
    control: isControl && given.control ? cut(given.control, control) : null,
  };
}

/** What the grid is made from and is not here, in words; empty where nothing. */
export function lacking(wanted: Wanted, given: Given): string {
  const { start, control } = atHand(wanted, given);
  if (wanted.start && !start)
    return wanted.start.mask
      ? "Its picture and mask are not in its address: give them again to make more."
      : "The picture that it starts from is not in its address: give it again to make more.";
  return wanted.control && !control ? "Its control image is not in its address: give it again to make more." : "";
}

/** Stand for the artifacts until those are sent up: the same names for the same pictures. */
export function namesOf({ start, control }: Wanted): Pictures {
  const name = ({ picture, x, y }: Named): string => `picture:${picture}@${x},${y}`;
  return {
    ...(start ? { image: name(start) } : {}),
    ...(start?.mask ? { mask_image: `mask:${start.mask}` } : {}),
    ...(control ? { control_image: name(control) } : {}),
  };
}

/** A closer look at a picture: how much larger, and moved by how much. Pure, so that several views can share one. */

export interface View {
  scale: number;
  /** Of the picture's middle from the frame's middle, in parts of the frame. */
  x: number;
  y: number;
}

/** A place in the frame, in parts of it from its middle: -0.5 to 0.5. */
export interface Place {
  x: number;
  y: number;
}

export const WHOLE: View = { scale: 1, x: 0, y: 0 };
export const MIDDLE: Place = { x: 0, y: 0 };
export const MOST = 16;

/** Closer or further by a factor, what lies at `place` staying there. */
export function zoomed(view: View, factor: number, place: Place = MIDDLE): View {
  const scale = Math.min(MOST, Math.max(1, view.scale * factor));
  const by = scale / view.scale;
  return bounded({ scale, x: place.x - (place.x - view.x) * by, y: place.y - (place.y - view.y) * by });
}

export function moved(view: View, by: Place): View {
  return bounded({ ...view, x: view.x + by.x, y: view.y + by.y });
}

/** The picture keeps covering the frame. */
function bounded({ scale, x, y }: View): View {
  const most = (scale - 1) / 2;
  const within = (value: number): number => Math.min(most, Math.max(-most, value)) + 0; // no -0
  return { scale, x: within(x), y: within(y) };
}

export function transformOf({ scale, x, y }: View): string {
  return `translate(${x * 100}%, ${y * 100}%) scale(${scale})`;
}

/** How two pictures differ, pixel by pixel. */

export interface Pixels {
  width: number;
  height: number;
  /** RGBA, 0 to 255, row by row. */
  data: Uint8ClampedArray;
}

export interface Difference {
  /** Of 255, over all channels. */
  largest: number;
  mean: number;
  /** Pixels that differ at all, 0 to 1. */
  share: number;
  /** What the gain makes of it: |one - other| * gain, opaque. */
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** Both of the same size; raises `RangeError` otherwise. Alpha is left out: no model here makes any. */
export function differenceOf(one: Pixels, other: Pixels, gain: number): Difference {
  if (one.width !== other.width || one.height !== other.height) throw new RangeError("pictures of different sizes");
  const data = new Uint8ClampedArray(one.data.length);
  let largest = 0;
  let sum = 0;
  let differing = 0;
  for (let at = 0; at < data.length; at += 4) {
    let ofPixel = 0;
    for (let channel = at; channel < at + 3; channel += 1) {
      const apart = Math.abs((one.data[channel] ?? 0) - (other.data[channel] ?? 0));
      data[channel] = apart * gain;
      sum += apart;
      if (apart > ofPixel) ofPixel = apart;
    }
    data[at + 3] = 255;
    if (ofPixel > 0) differing += 1;
    if (ofPixel > largest) largest = ofPixel;
  }
  const pixels = data.length / 4;
  return { largest, mean: pixels ? sum / (pixels * 3) : 0, share: pixels ? differing / pixels : 0, data };
}

/** "Largest 37 of 255, mean 1.24, 42 % of the pixels differ". */
export function differenceText({ largest, mean, share }: Omit<Difference, "data">): string {
  if (largest === 0) return "The same in every pixel";
  const percent = share > 0.995 && share < 1 ? "more than 99" : share < 0.01 ? "less than 1" : Math.round(share * 100);
  return `Largest ${largest} of 255, mean ${mean.toFixed(mean < 10 ? 2 : 1)}, ${percent} % of the pixels differ`;
}

import { expect, test } from "vitest";

import { type Colour, hatchTile, stripesOver } from "./hatch";

const PICTURES: Record<string, Colour> = {
  night: [0, 0, 0],
  snow: [255, 255, 255],
  fog: [128, 128, 128],
  sunset: [255, 138, 87],
  dusk: [184, 64, 15],
  sea: [20, 90, 160],
};

/** As WCAG 2.2 has it, 1 to 21. */
function contrast(one: Colour, other: Colour): number {
  const [low, high] = [luminance(one), luminance(other)].toSorted((a, b) => a - b) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour: Colour): number {
  const [red, green, blue] = colour.map((said) => {
    const value = said / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

test.each(Object.entries(PICTURES))("the two stripes of the mask stand apart over %s", (_, below) => {
  const [dark, light] = stripesOver(below);
  expect(contrast(dark, light)).toBeGreaterThan(3);
});

test("what lies below can still be made out", () => {
  const [overNight] = stripesOver([0, 0, 0]);
  const [overSnow] = stripesOver([255, 255, 255]);
  expect(contrast(overNight, overSnow)).toBeGreaterThan(3);
});

test("the tile repeats without a seam, half dark and half light", () => {
  const side = 8;
  const rgba = hatchTile(side);
  const red = (x: number, y: number): number => rgba[4 * ((y % side) * side + (x % side))] ?? -1;
  for (let along = 0; along < side; along += 1) expect(red(side, along)).toBe(red(side - 1, along + 1));
  const dark = Array.from({ length: side * side }, (_, at) => red(at % side, Math.floor(at / side))).filter(
    (value) => value < 128,
  );
  expect(dark).toHaveLength((side * side) / 2);
});

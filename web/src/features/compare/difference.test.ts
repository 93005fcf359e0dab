import { expect, test } from "vitest";

import { type Pixels, differenceOf, differenceText } from "./difference";

const pixels = (...data: number[]): Pixels => ({
  width: data.length / 4,
  height: 1,
  data: new Uint8ClampedArray(data),
});

test("the numbers are of all channels, the picture has the gain", () => {
  const one = pixels(10, 20, 30, 255, 0, 0, 0, 255);
  const other = pixels(10, 14, 130, 255, 0, 0, 0, 255);
  const { largest, mean, share, data } = differenceOf(one, other, 4);
  expect([largest, mean, share]).toEqual([100, 106 / 6, 0.5]);
  expect([...data]).toEqual([0, 24, 255, 255, 0, 0, 0, 255]);
});

test("alpha is left out, and the way round does not matter", () => {
  const [one, other] = [pixels(1, 2, 3, 0), pixels(3, 2, 1, 255)];
  expect(differenceOf(one, other, 1)).toEqual(differenceOf(other, one, 1));
  expect(differenceOf(one, pixels(1, 2, 3, 255), 1)).toMatchObject({ largest: 0, share: 0 });
});

test("the numbers do not depend on the gain", () => {
  const [one, other] = [pixels(0, 0, 0, 255), pixels(9, 9, 9, 255)];
  expect(differenceOf(one, other, 32)).toMatchObject({ largest: 9, mean: 9, share: 1 });
  expect(differenceOf(one, other, 1)).toMatchObject({ largest: 9, mean: 9, share: 1 });
});

test("pictures of different sizes are refused", () => {
  expect(() => differenceOf(pixels(0, 0, 0, 0), pixels(0, 0, 0, 0, 0, 0, 0, 0), 1)).toThrow(RangeError);
});

test("the numbers in words", () => {
  expect(differenceText({ largest: 0, mean: 0, share: 0 })).toBe("The same in every pixel");
  expect(differenceText({ largest: 37, mean: 1.238, share: 0.421 })).toBe(
    "Largest 37 of 255, mean 1.24, 42 % of the pixels differ",
  );
  expect(differenceText({ largest: 1, mean: 0, share: 0.0001 })).toContain("less than 1 %");
  expect(differenceText({ largest: 200, mean: 50, share: 0.9999 })).toContain("more than 99 %");
});

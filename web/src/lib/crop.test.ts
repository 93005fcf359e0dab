import { expect, test } from "vitest";

import type { Offer } from "./offer";

import { CENTRE, cropOf, cropSaid, fittingSize, pulled } from "./crop";

const OFFER = {
  sizes: [
    [256, 256],
    [192, 192],
    [320, 192],
    [192, 320],
  ],
  defaultSize: [256, 256],
  sides: { min: 64, max: 2048 },
  multiple: 16,
} as unknown as Offer;

test("the largest part of the right shape is taken from the middle", () => {
  expect(cropOf([4000, 3000], [256, 256], CENTRE)).toEqual({ x: 500, y: 0, width: 3000, height: 3000 });
  expect(cropOf([100, 100], [320, 192], CENTRE)).toEqual({ x: 0, y: 20, width: 100, height: 60 });
});

test("the focus moves the part to the edges, and no further", () => {
  expect(cropOf([400, 300], [10, 10], { x: 1, y: 0 })).toMatchObject({ x: 100, y: 0 });
  expect(pulled(CENTRE, [400, 300], [10, 10], { x: 25, y: 50 })).toEqual({ x: 0.25, y: 0.5 });
  expect(pulled(CENTRE, [400, 300], [10, 10], { x: -999, y: 0 }).x).toBe(1);
});

test("a picture gets the offered size of the nearest shape", () => {
  expect(fittingSize([4000, 3900], OFFER)).toEqual([256, 256]);
  expect(fittingSize([1920, 1080], OFFER)).toEqual([320, 192]);
  expect(fittingSize([1080, 1920], OFFER)).toEqual([192, 320]);
});

test("where any size will do, the shape is kept and the area is the default's", () => {
  const free = { ...OFFER, sizes: [], defaultSize: [512, 512] } as unknown as Offer;
  expect(fittingSize([2000, 1000], free)).toEqual([720, 368]);
  expect(fittingSize([100, 10000], free)).toEqual([64, 2048]);
});

test("what was done is said", () => {
  expect(cropSaid([256, 256], [256, 256])).toBe("256 × 256, as it is");
  expect(cropSaid([512, 512], [256, 256])).toBe("512 × 512 resized to 256 × 256");
  expect(cropSaid([4000, 3000], [256, 256])).toBe("4000 × 3000 cropped and resized to 256 × 256");
  expect(cropSaid([300, 256], [256, 256])).toBe("300 × 256 cropped to 256 × 256");
});

import { expect, test } from "vitest";

import { MOST, WHOLE, moved, transformOf, zoomed } from "./zoom";

test("what lies under the pointer stays there", () => {
  const place = { x: 0.25, y: -0.1 };
  const view = zoomed(WHOLE, 4, place);
  // The picture's own place under the pointer, before and after.
  expect((place.x - view.x) / view.scale).toBeCloseTo(0.25);
  expect((place.y - view.y) / view.scale).toBeCloseTo(-0.1);
});

test("it grows no larger and no smaller than it may", () => {
  expect(zoomed(WHOLE, 1000).scale).toBe(MOST);
  expect(zoomed(zoomed(WHOLE, 8, { x: 0.5, y: 0.5 }), 0.01)).toEqual(WHOLE);
});

test("the picture cannot be pushed out of its frame", () => {
  expect(moved(WHOLE, { x: 3, y: -3 })).toEqual(WHOLE);
  expect(moved({ scale: 2, x: 0, y: 0 }, { x: 3, y: -0.2 })).toEqual({ scale: 2, x: 0.5, y: -0.2 });
});

test("a view is drawn as a transform", () => {
  expect(transformOf({ scale: 2, x: 0.5, y: 0 })).toBe("translate(50%, 0%) scale(2)");
});

import { expect, test } from "vitest";

import { neighbourOf, stepped } from "./moving";
import { panesOf, swapped, withActive, withMode, withToggled } from "./panes";

const ALL = Array.from({ length: 9 }, () => true);

test("arrows walk to the edges and no further", () => {
  const walk = (at: number) => ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].map((key) => stepped(at, key, 3, 9));
  expect(walk(4)).toEqual([3, 5, 1, 7]);
  expect(walk(0)).toEqual([null, 1, null, 3]);
  expect(walk(8)).toEqual([7, null, 5, null]);
  expect([stepped(4, "Home", 3, 9), stepped(4, "End", 3, 9), stepped(4, "a", 3, 9)]).toEqual([3, 5, null]);
});

test("one alone is compared with a finished neighbour", () => {
  expect(neighbourOf(4, 3, ALL)).toBe(3);
  expect(neighbourOf(0, 3, ALL)).toBe(1);
  expect(neighbourOf(4, 3, ALL.with(3, false))).toBe(5);
  expect(neighbourOf(0, 1, [true])).toBeNull();
  expect(withMode(panesOf([4]), "difference", 3, ALL)).toEqual({ mode: "difference", cells: [3, 4] });
});

test("where there is nothing to compare with, the look stays as it is", () => {
  expect(withMode(panesOf([0]), "difference", 1, [true])).toEqual({ mode: "one", cells: [0] });
});

test("several that were chosen begin side by side", () => {
  expect(panesOf([1, 5])).toEqual({ mode: "side", cells: [1, 5] });
});

test("arrows move the last one, the first stays to compare with", () => {
  const panes = panesOf([1, 5]);
  expect(withActive(panes, 8).cells).toEqual([1, 8]);
  expect(withActive(panesOf([1]), 2).cells).toEqual([2]);
});

test("walking onto the first keeps two cells", () => {
  expect(withActive({ mode: "difference", cells: [4, 5] }, 4)).toEqual({ mode: "difference", cells: [5, 4] });
});

test("side by side, cells join and leave; one stays", () => {
  const panes = withToggled(panesOf([1, 5]), 7);
  expect(panes.cells).toEqual([1, 5, 7]);
  expect(withToggled(withToggled(panes, 1), 5).cells).toEqual([7]);
  expect(withToggled({ mode: "side", cells: [7] }, 7).cells).toEqual([7]);
});

test("swapping turns them round", () => {
  expect(swapped(panesOf([1, 5])).cells).toEqual([5, 1]);
});

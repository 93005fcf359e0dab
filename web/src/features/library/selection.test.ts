import { expect, test } from "vitest";

import { NONE, all, less, ranged, toggled } from "./selection";

const ORDER = ["a", "b", "c", "d", "e"];
const ids = ({ ids }: { ids: ReadonlySet<string> }): string => [...ids].sort().join("");

test("in and out again", () => {
  expect(ids(toggled(NONE, "b"))).toBe("b");
  expect(ids(toggled(toggled(NONE, "b"), "b"))).toBe("");
});

test("a range goes from the anchor, either way, and follows its end back", () => {
  const begun = toggled(NONE, "c");
  const far = ranged(begun, ORDER, "e");
  expect(ids(far)).toBe("cde");
  expect(ids(ranged(far, ORDER, "d"))).toBe("cd");
  expect(ids(ranged(far, ORDER, "a"))).toBe("abc");
});

test("what was selected before a range stays", () => {
  const two = toggled(toggled(NONE, "a"), "d");
  expect(ids(ranged(ranged(two, ORDER, "e"), ORDER, "d"))).toBe("ad");
});

test("without an anchor, or with one that is not shown, a range begins where one is", () => {
  expect(ids(ranged(NONE, ORDER, "d", "b"))).toBe("bcd");
  expect(ids(ranged(toggled(NONE, "z"), ORDER, "b", "a"))).toBe("abz");
});

test("all, and less what is gone", () => {
  const left = less(all(ORDER), new Set(["a", "c"]));
  expect(ids(left)).toBe("bde");
  expect(left.anchor).toBeNull();
});

import { expect, test } from "vitest";

import { joined, united, without } from "./made";
import { sample } from "./samples";

const at = (hour: number, id: string) => sample({ id, at: `2030-01-31T${hour}:00:00Z` });
const [LATE, NOON, EARLY] = [at(15, "late"), at(12, "noon"), at(10, "early")];
const ids = (made: readonly { id: string }[]): string[] => made.map(({ id }) => id);

test("lists become one, the newest first, nothing twice", () => {
  expect(ids(united([LATE, EARLY], [NOON, EARLY]))).toEqual(["late", "noon", "early"]);
});

test("what was asked for earlier and ended later takes its own place", () => {
  expect(ids(joined([LATE, EARLY], [NOON]))).toEqual(["late", "noon", "early"]);
});

test("a new look takes the place of the old", () => {
  const again = { ...NOON, prompt: "another" };
  expect(joined([LATE, NOON], [again])[1]).toBe(again);
});

test("what is gone is left out", () => {
  expect(ids(without([LATE, NOON], new Set(["late"])))).toEqual(["noon"]);
});

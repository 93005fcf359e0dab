import { expect, test } from "vitest";

import { OFFER as SAMPLE } from "@/lib/offer.sample";

import { added, beginning, faultOf, readLines, readNumbers, readSizes, toggled } from "./axis";
import { axisOf } from "./grid";

const OFFER = {
  ...SAMPLE,
  solvers: ["ddim", "dpm++2m", "heun"],
  steps: { min: 1, max: 100 },
  promptLength: 40,
};

test.each([
  ["4, 8 12;16", [4, 8, 12, 16]],
  ["4..20:4", [4, 8, 12, 16, 20]],
  ["3..5", [3, 4, 5]],
  ["20..10:5", [20, 15, 10]],
  ["0..0.3:0.1", [0, 0.1, 0.2, 0.3]],
  ["-1..1:0.5", [-1, -0.5, 0, 0.5, 1]],
  ["4..9:2", [4, 6, 8]],
  [".5 7.", [0.5, 7]],
])("%s is read as numbers", (text, values) => {
  expect(readNumbers(text)).toEqual({ values, wrong: [] });
});

test("what is no number, steps of nothing and endless ranges are told, the rest is taken", () => {
  expect(readNumbers("4 four 8..9:0 1..1000 5e3")).toEqual({
    values: [4],
    wrong: ["four", "8..9:0", "1..1000", "5e3"],
  });
});

test("sizes are written in several ways", () => {
  expect(readSizes("256x256, 320 × 192 512X768 big")).toEqual({
    values: ["256x256", "320x192", "512x768"],
    wrong: ["big"],
  });
});

test("each line is one prompt, commas and all", () => {
  expect(readLines("a lake, at dawn\n\n  a fox \r\n").values).toEqual(["a lake, at dawn", "a fox"]);
});

test("values join those that are there, each once", () => {
  const { axis, fault } = added(axisOf("steps", [4, 8]), "8, 12", OFFER);
  expect([axis.values, fault]).toEqual([[4, 8, 12], null]);
});

test("numbers that rise go on rising, others stay as they were written", () => {
  expect(added(axisOf("steps", [4, 12]), "20, 8", OFFER).axis.values).toEqual([4, 8, 12, 20]);
  expect(added(axisOf("steps", [12, 4]), "8", OFFER).axis.values).toEqual([12, 4, 8]);
  expect(added(axisOf("steps", []), "20..4:8", OFFER).axis.values).toEqual([20, 12, 4]);
});

test("an axis takes eight values and says so", () => {
  const { axis, fault } = added(axisOf("steps", []), "1..10", OFFER);
  expect(axis.values).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(fault).toContain("At most 8");
});

test("what the model does not take stays out, and it is said why", () => {
  expect(added(axisOf("steps", []), "4, 200", OFFER)).toEqual({
    axis: axisOf("steps", [4]),
    fault: "Steps: from 1 to 100.",
  });
  expect(added(axisOf("size", []), "256x256 512x512", OFFER).fault).toBe("landscapes does not make 512x512.");
  expect(added(axisOf("prompt", []), "x".repeat(41), OFFER).fault).toBe("At most 40 characters.");
});

test.each([
  ["steps", 4.5],
  ["guidance", 51],
  ["seed", -1],
  ["seed", 2 ** 60],
  ["adapter", 101],
  ["solver", "euler"],
  ["preset", "fast"],
] as const)("%s %s has a fault", (kind, value) => {
  expect(faultOf(kind, value, OFFER)).not.toBeNull();
});

test("free sizes are held to sides and steps", () => {
  const free = { ...OFFER, sizes: [] };
  expect([faultOf("size", "512x768", free), faultOf("size", "500x768", free)]).toEqual([
    null,
    "Sides go from 64 to 2048, in steps of 16.",
  ]);
});

test("choices come on and off, in the order in which they are offered", () => {
  const axis = toggled(axisOf("solver", ["heun"]), "ddim", OFFER.solvers);
  expect(axis.values).toEqual(["ddim", "heun"]);
  expect(toggled(axis, "heun", OFFER.solvers).values).toEqual(["ddim"]);
});

test("an axis begins with what the model offers", () => {
  expect(beginning("size", "", OFFER, []).values).toEqual(["256x256", "320x192"]);
  expect(beginning("adapter", "neon", OFFER, [])).toEqual(axisOf("adapter", [0, 0.5, 1], "neon"));
});

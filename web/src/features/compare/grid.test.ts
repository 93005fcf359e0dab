import { expect, test } from "vitest";

import { EMPTY, type Plan, axisOf, bodyOf, cellText, cellsOf, fixedText, sizeOf } from "./grid";
import { postedOf, sendKeyOf } from "./running";

const PLAN: Plan = {
  id: "abc",
  settings: { ...EMPTY, model: "landscapes", prompt: " a fox ", seed: 7 },
  across: axisOf("steps", [4, 8]),
  down: axisOf("adapter", [0, 0.5], "neon"),
};

test("every pair of values is a cell, row by row, all with the one seed", () => {
  const cells = cellsOf(PLAN);
  expect(cells.map(({ x, y }) => [x, y])).toEqual([
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ]);
  expect(cells[3]?.body).toEqual({
    model: "landscapes",
    input: { prompt: "a fox", num_inference_steps: 8, seed: 7, adapters: { neon: 0.5 } },
  });
  expect(new Set(cells.map(({ body }) => body.input.seed))).toEqual(new Set([7]));
});

test("an axis without values makes no cells, one that is not there makes a single row", () => {
  expect(cellsOf({ ...PLAN, down: axisOf("seed") })).toEqual([]);
  expect(cellsOf({ ...PLAN, down: null })).toHaveLength(2);
});

test("a value that is added leaves the keys of the other cells as they were", () => {
  const before = cellsOf(PLAN).map(({ key }) => key);
  const after = cellsOf({ ...PLAN, across: axisOf("steps", [2, 4, 8]) }).map(({ key }) => key);
  expect(after.filter((key) => before.includes(key))).toEqual(before);
  expect(new Set(after).size).toBe(6);
});

test("seed, size and model are put where the API has them", () => {
  const plan: Plan = { ...PLAN, across: axisOf("seed", [1]), down: axisOf("size", ["256x192"]) };
  expect(cellsOf(plan)[0]?.body.input).toMatchObject({ seed: 1, width: 256, height: 192 });
  expect(cellsOf({ ...PLAN, across: axisOf("model", ["other"]), down: null })[0]?.body.model).toBe("other");
});

test("what the settings leave open is left to the preset and the model", () => {
  expect(bodyOf({ ...EMPTY, prompt: "a" })).toEqual({ input: { prompt: "a", seed: 0 } });
});

test("sizes are read, and what is none is not", () => {
  expect([sizeOf("256x192"), sizeOf("256"), sizeOf(null)]).toEqual([[256, 192], null, null]);
});

test("a cell is called by its values, the sheet by what stays the same", () => {
  expect(cellText(PLAN, { x: 1, y: 0 })).toBe("Steps 8, Weight of neon 0");
  expect(fixedText(PLAN)).toBe("a fox · landscapes · seed 7");
});

test("the same cell asked for again has the same key; after a lost job it has another", () => {
  const [cell, next] = cellsOf(PLAN);
  if (!cell || !next) throw new Error("no cells");
  const key = sendKeyOf("abc", cell, cell.body, "");
  expect(key).toMatch(/^[!-~]{1,255}$/);
  expect(sendKeyOf("abc", { ...cell }, { ...cell.body }, "")).toBe(key);
  const others = [
    sendKeyOf("abc", next, next.body, ""),
    sendKeyOf("xyz", cell, cell.body, ""),
    sendKeyOf("abc", cell, cell.body, "job-1"),
  ];
  expect(new Set([key, ...others]).size).toBe(4);
});

test("strengths are put into the picture to start from, and mean nothing without one", () => {
  const start = { picture: "one", x: 0.5, y: 0.5, mask: "", strength: 0.7 };
  const plan: Plan = { ...PLAN, across: axisOf("strength", [0.2, 0.9]), down: null };
  const strengths = (settings: Plan["settings"]): unknown[] =>
    cellsOf({ ...plan, settings }).map(({ body }) => body.input.strength);
  expect(strengths({ ...PLAN.settings, start })).toEqual([0.2, 0.9]);
  expect(strengths(PLAN.settings)).toEqual([undefined, undefined]);
});

test("a job says of which grid and cell it is", () => {
  const cell = cellsOf(PLAN)[1];
  expect(cell && postedOf("abc", cell, cell.body).metadata).toEqual({ grid: "abc", cell: "1,0" });
});

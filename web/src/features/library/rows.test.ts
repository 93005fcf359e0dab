import { expect, test } from "vitest";

import { besides, rowAt, rowsOf, walked } from "./rows";

const MEASURES = { width: 1000, gap: 10, height: 200 };
const MIXED = [1, 1.6, 0.6, 1, 1, 1.5, 0.7, 1, 1, 1, 1.4, 1];

test("every picture is in one row, in order, and full rows fill the width", () => {
  const rows = rowsOf(MIXED, MEASURES);
  expect(rows.flatMap(({ widths }) => widths)).toHaveLength(MIXED.length);
  for (const [at, row] of rows.slice(0, -1).entries()) {
    expect(row.widths.reduce((sum, wide) => sum + wide, 0) + 10 * (row.widths.length - 1)).toBe(1000);
    expect(row.start + row.widths.length).toBe(rows[at + 1]?.start);
    expect(row.height).toBeLessThanOrEqual(200);
  }
});

test("pictures keep their shapes but for the last pixels of a row", () => {
  const rows = rowsOf(MIXED, MEASURES);
  for (const { start, widths, height } of rows)
    for (const [at, wide] of widths.entries())
      expect(Math.abs(wide - (MIXED[start + at] ?? 0) * height)).toBeLessThan(12);
});

test("a last row of few is not blown up", () => {
  expect(rowsOf([1], MEASURES)).toEqual([{ start: 0, widths: [200], height: 200 }]);
});

test("a panorama does not make a row of a few pixels' height", () => {
  expect(rowsOf([40], MEASURES)[0]?.height).toBeGreaterThan(100);
});

test("the row of a picture is found", () => {
  const rows = rowsOf(Array<number>(5000).fill(1), MEASURES);
  for (const at of [0, 1, 777, 4999]) {
    const row = rows[rowAt(rows, at)];
    expect(row && row.start <= at && at < row.start + row.widths.length).toBe(true);
  }
});

test("up and down lead to what lies nearest", () => {
  const rows = rowsOf([2.5, 2.5, 1, 1, 1, 1, 1, 1], { width: 1000, gap: 0, height: 200 });
  expect(rows.map(({ widths }) => widths.length)).toEqual([2, 5, 1]);
  expect(besides(rows, 0, 1, 0)).toBe(3);
  expect(besides(rows, 6, -1, 0)).toBe(1);
  expect(besides(rows, 0, -1, 0)).toBe(0);
  expect(besides(rows, 5, 1, 0)).toBe(7);
});

const key = (name: string, ctrlKey = false) => ({ key: name, ctrlKey, metaKey: false });

test("keys lead on, and not past the ends", () => {
  const rows = rowsOf(Array<number>(23).fill(1), { width: 1000, gap: 0, height: 200 });
  const to = (at: number, pressed: ReturnType<typeof key>) => walked(rows, 23, at, pressed, { gap: 0, page: 500 });
  expect(to(0, key("ArrowLeft"))).toBe(0);
  expect(to(4, key("ArrowRight"))).toBe(5);
  expect(to(7, key("Home"))).toBe(5);
  expect(to(7, key("End"))).toBe(9);
  expect(to(7, key("End", true))).toBe(22);
  expect(to(7, key("PageDown"))).toBe(17);
  expect(to(22, key("ArrowRight"))).toBe(22);
  expect(to(7, key("x"))).toBeNull();
  expect(to(7, key("ArrowRight", true))).toBeNull();
});

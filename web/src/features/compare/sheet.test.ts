import { expect, test } from "vitest";

import { type Contents, GAP, LINE, MARGIN, ROW_HEAD, sheetOf, wrapped } from "./sheet";

const measure = (text: string): number => text.length * 8;
const size = (width: number, height: number) => ({ width, height });

const THREE: Contents = {
  across: "Steps",
  down: "Guidance",
  columns: ["4", "8", "12"],
  rows: ["2", "4", "7"],
  sizes: Array.from({ length: 9 }, () => size(192, 192)),
  foot: "a fox",
};

test("nine pictures stand in their natural size between labels", () => {
  const sheet = sheetOf(THREE, measure);
  expect(sheet.width).toBe(MARGIN + ROW_HEAD + GAP + 3 * 192 + 2 * GAP + MARGIN);
  expect(sheet.height).toBe(MARGIN + 2 * LINE + GAP + 3 * 192 + 2 * GAP + GAP + LINE + MARGIN);
  expect(sheet.cells).toHaveLength(9);
  expect(sheet.cells[4]).toEqual({
    x: MARGIN + ROW_HEAD + GAP + 200,
    y: MARGIN + 2 * LINE + GAP + 200,
    width: 192,
    height: 192,
  });
});

test("nothing overlaps, and nothing stands outside", () => {
  const sizes = [size(256, 128), size(64, 320), size(192, 192), size(320, 192)];
  const sheet = sheetOf({ ...THREE, columns: ["a", "b"], rows: ["c", "d"], sizes }, measure);
  const apart = sheet.cells.every((one, at) =>
    sheet.cells
      .slice(at + 1)
      .every(
        (other) => one.x + one.width <= other.x || one.y + one.height <= other.y || other.x + other.width <= one.x,
      ),
  );
  expect(apart).toBe(true);
  for (const { x, y, width, height } of sheet.cells) {
    expect(x + width).toBeLessThanOrEqual(sheet.width - MARGIN);
    expect(y + height).toBeLessThanOrEqual(sheet.height - MARGIN);
  }
});

test("without rows to name there is no room for their names", () => {
  const sheet = sheetOf({ ...THREE, down: "", rows: [""], sizes: THREE.sizes.slice(0, 3) }, measure);
  expect(sheet.cells[0]?.x).toBe(MARGIN);
  expect(sheet.down).toBeNull();
});

test("the name of a single axis stands on the sheet, over its values", () => {
  const sheet = sheetOf({ ...THREE, across: "", columns: [""], sizes: THREE.sizes.slice(0, 3) }, measure);
  expect(sheet.across).toBeNull();
  expect(sheet.down?.lines).toEqual(["Guidance"]);
  expect(sheet.down?.y).toBe(MARGIN);
  expect(sheet.cells[0]?.y).toBe(MARGIN + LINE + GAP);
});

test("sheets that no canvas holds are drawn smaller", () => {
  const sheet = sheetOf({ ...THREE, sizes: Array.from({ length: 9 }, () => size(4096, 4096)) }, measure);
  expect(sheet.scale).toBeLessThan(1);
  expect(sheet.width * sheet.height).toBeLessThan(45e6);
});

test("long labels are broken into lines, and end where there is no more room", () => {
  expect(wrapped("a fox in the snow", 80, measure)).toEqual(["a fox in", "the snow"]);
  expect(wrapped("one two three four", 40, measure, 2)).toEqual(["one", "two …"]);
  expect(wrapped("incomprehensibilities", 80, measure)).toEqual(["incompreh…"]);
  expect(wrapped("", 80, measure)).toEqual([]);
});

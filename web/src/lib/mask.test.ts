import { expect, test } from "vitest";

import { type Deed, NO_MASK, type Pen, blackAndWhite, did, draw, isDrawn, redo, undo } from "./mask";

const STROKE: Deed = { kind: "stroke", isErasing: false, size: 20, points: [{ x: 100, y: 50 }] };
const RUB: Deed = { ...STROKE, isErasing: true };

test("undo and redo walk over what was done; something new ends redoing", () => {
  const two = did(did(NO_MASK, STROKE), { kind: "invert" });
  const one = undo(two);
  expect(one.done).toEqual([STROKE]);
  expect(redo(one)).toEqual(two);
  expect(did(one, RUB).undone).toEqual([]);
  expect(undo(NO_MASK)).toBe(NO_MASK);
  expect(redo(NO_MASK)).toBe(NO_MASK);
});

test("a mask is drawn only if something was painted since it was cleared", () => {
  const drawn = did(NO_MASK, STROKE);
  expect(isDrawn(NO_MASK)).toBe(false);
  expect(isDrawn(did(NO_MASK, RUB))).toBe(false);
  expect(isDrawn(drawn)).toBe(true);
  expect(isDrawn(did(drawn, { kind: "clear" }))).toBe(false);
  expect(isDrawn(undo(did(drawn, { kind: "clear" })))).toBe(true);
});

test("places of the source land where the crop puts them", () => {
  const said: string[] = [];
  const note =
    (name: string) =>
    (...numbers: number[]): void => {
      said.push(`${name} ${numbers.join(" ")}`);
    };
  const pen = {
    beginPath: () => undefined,
    moveTo: note("moveTo"),
    lineTo: note("lineTo"),
    stroke: () => said.push(`stroke ${pen.lineWidth} ${pen.globalCompositeOperation}`),
    clearRect: note("clearRect"),
    fillRect: () => said.push(`fill ${pen.globalCompositeOperation}`),
    lineWidth: 0,
    globalCompositeOperation: "source-over",
  } as unknown as Pen;
  draw(pen, [STROKE, RUB, { kind: "invert" }], { x: 50, y: 0, width: 100, height: 100 }, 50, 50, "white");
  expect(said).toEqual([
    "clearRect 0 0 50 50",
    "moveTo 25 25",
    "lineTo 25 25",
    "stroke 10 source-over",
    "moveTo 25 25",
    "lineTo 25 25",
    "stroke 10 destination-out",
    "fill source-out",
  ]);
});

test("the exported mask has nothing but opaque black and white", () => {
  const rgba = new Uint8ClampedArray([200, 80, 10, 255, 200, 80, 10, 127, 0, 0, 0, 0, 9, 9, 9, 128]);
  expect(blackAndWhite(rgba)).toBe(0.5);
  expect([...rgba]).toEqual([255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 255]);
});

import { expect, test } from "vitest";

import { NO_MASK, did } from "@/lib/mask";
import { type Placed, digestOf } from "@/lib/pictures";

import { atHand, controlOf, lacking, startOf } from "./given";
import { EMPTY, bodyOf } from "./grid";

const placed = (id: string, painted = false): Placed => ({
  source: { id, name: "", size: [200, 100], bitmap: {} as ImageBitmap, blob: new Blob() },
  focus: { x: 0.5, y: 1 / 3 },
  mask: painted ? did(NO_MASK, { kind: "stroke", isErasing: false, size: 9, points: [{ x: 1, y: 1 }] }) : NO_MASK,
});
const wanted = (start: Placed, strength = 0.6) => ({ start: startOf(start, strength), control: null });

test("cells of the same picture, part and mask are the same, and of others are not", () => {
  const key = (start: Placed, strength?: number): string =>
    JSON.stringify(bodyOf({ ...EMPTY, prompt: "a", ...wanted(start, strength) }));
  expect(key(placed("one"))).toBe(key(placed("one")));
  const others = [key(placed("two")), key(placed("one", true)), key(placed("one"), 0.7)];
  expect(new Set([key(placed("one")), ...others]).size).toBe(4);
});

test("what is sent has the artifacts in place of names", () => {
  const settings = { ...EMPTY, prompt: "a", ...wanted(placed("one", true)), control: controlOf(placed("two"), 0.5) };
  const sent = { image: "artifact-1", mask_image: "artifact-2", control_image: "artifact-3" };
  expect(bodyOf(settings, sent).input).toMatchObject({
    ...sent,
    strength: 0.6,
    controlnet_conditioning_scale: 0.5,
  });
  expect(bodyOf(settings).input.image).toBe("picture:one@0.5,0.333");
});

test("a grid finds its picture on the table, with the mask that it had", () => {
  const [plain, painted, other] = [placed("one"), placed("one", true), placed("two")];
  expect(atHand(wanted(painted), { start: painted, control: null }).start?.source).toBe(painted.source);
  for (const start of [plain, other, null])
    expect(lacking(wanted(painted), { start, control: null })).toMatch(/picture and mask/);
  expect(lacking(wanted(plain), { start: other, control: null })).toMatch(/give it again/);
  expect(lacking({ start: null, control: null }, { start: other, control: other })).toBe("");
});

test("it takes the part that its own address says, wherever the picture lay last", () => {
  const moved = { ...placed("one"), focus: { x: 0.9, y: 0.1 } };
  const settings = { ...wanted(placed("one")), control: controlOf(placed("one"), 1) };
  const { start, control } = atHand(settings, { start: moved, control: moved });
  expect(start?.focus).toEqual({ x: 0.5, y: 0.333 });
  expect(control?.focus).toEqual({ x: 0.5, y: 0.333 });
});

test("a digest tells pictures apart that differ in one bit anywhere", () => {
  const bytes = Uint8Array.from({ length: 999 }, (_, at) => at % 251);
  const flipped = Array.from(bytes, (byte, at) => digestOf(bytes.with(at, byte ^ 1)));
  expect(digestOf(bytes)).toMatch(/^[0-9a-f]{16}$/);
  expect(new Set([digestOf(bytes), digestOf(bytes.slice(1)), ...flipped]).size).toBe(1001);
});

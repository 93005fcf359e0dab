import { expect, test } from "vitest";

import { madeWith, textsOf } from "./png";

const bytesOf = (text: string): number[] => Array.from(text, (letter) => letter.charCodeAt(0));

function chunk(type: string, data: number[]): number[] {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, data.length);
  return [...length, ...bytesOf(type), ...data, 0, 0, 0, 0];
}

function png(...chunks: number[][]): Uint8Array {
  const header = chunk("IHDR", new Array<number>(13).fill(0));
  return new Uint8Array([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, ...header, ...chunks.flat(), ...chunk("IEND", [])]);
}

const SETTINGS = { model: "landscapes", task: "inpaint", input: { prompt: "a fox", seed: 7 }, mask_sha256: "ab" };

test("settings are read from a tEXt chunk", () => {
  const said = madeWith(png(chunk("tEXt", bytesOf(`darkroom\0${JSON.stringify(SETTINGS)}`))));
  expect(said).toEqual({
    model: "landscapes",
    task: "inpaint",
    input: { prompt: "a fox", seed: 7 },
    isFromPicture: false,
    isMasked: true,
    isControlled: false,
    isPrompted: false,
  });
});

test("iTXt is read as UTF-8, tEXt as Latin-1", () => {
  const words = Array.from(new TextEncoder().encode("für 狐"));
  const texts = textsOf(
    png(chunk("iTXt", [...bytesOf("a\0\0\0de\0a\0"), ...words]), chunk("tEXt", [...bytesOf("b\0"), 0xfc, 0x93])),
  );
  expect(texts.get("a")).toBe("für 狐");
  expect(texts.get("b")).toBe("ü\u0093");
});

test("compressed text is left out", () => {
  expect(textsOf(png(chunk("iTXt", bytesOf("a\0\x01\0\0\0xx")))).size).toBe(0);
});

test("what is no PNG, cut short, or no JSON of ours says nothing", () => {
  const whole = png(chunk("tEXt", bytesOf(`darkroom\0${JSON.stringify(SETTINGS)}`)));
  expect(madeWith(new Uint8Array(bytesOf("GIF89a")))).toBeNull();
  expect(madeWith(whole.subarray(0, 80))).toBeNull();
  expect(madeWith(png(chunk("tEXt", bytesOf("darkroom\0not JSON"))))).toBeNull();
  expect(madeWith(png(chunk("tEXt", bytesOf('darkroom\0{"input": 3}'))))).toBeNull();
});

import { expect, test } from "vitest";

import { START, added, isPrompts, walked } from "./history";

test("a prompt used again moves to the front", () => {
  expect(added(["b", "a"], " a ")).toEqual(["a", "b"]);
  expect(added(["a"], "  ")).toEqual(["a"]);
});

test("fifty are kept", () => {
  const many = Array.from({ length: 60 }, (_, at) => `p${at}`);
  expect(added(many, "new")).toHaveLength(50);
});

test("walking back and forth ends at what was being written", () => {
  const first = walked(["b", "a"], START, "half", 1);
  expect(first?.prompt).toBe("b");
  const second = first && walked(["b", "a"], first.walk, first.prompt, 1);
  expect(second?.prompt).toBe("a");
  expect(second && walked(["b", "a"], second.walk, "a", 1)).toBeNull();
  const back = second && walked(["b", "a"], second.walk, "a", -1);
  expect(back?.prompt).toBe("b");
  expect(back && walked(["b", "a"], back.walk, "b", -1)?.prompt).toBe("half");
});

test("the first step back passes over what the box already holds", () => {
  expect(walked(["b", "a"], START, "b", 1)?.prompt).toBe("a");
});

test("forth from the present leads nowhere", () => {
  expect(walked(["a"], START, "x", -1)).toBeNull();
});

test("only lists of texts are taken as prompts", () => {
  expect(isPrompts(["a"])).toBe(true);
  expect(isPrompts([1])).toBe(false);
});

import { expect, test } from "vitest";

import { DRAFT, compose, composed } from "./composed";
import { store } from "./stored";

test("the prompt is the one that an earlier page left, until this page has one", () => {
  expect(composed()).toBe("");
  store(DRAFT, { prompt: 7 });
  expect(composed()).toBe("");
  store(DRAFT, { prompt: "a fox" });
  expect(composed()).toBe("a fox");
  compose("");
  expect(composed()).toBe("");
});

import { expect, it } from "vitest";

import { bytes, deviceSeconds, seconds, share } from "./format";

it("a number and its unit stay on one line", () => {
  const said = [seconds(0.045), seconds(45), seconds(252), bytes(3 * 1024 ** 3), share(0.5)];
  expect(said).toEqual(["45\u00a0ms", "45\u00a0s", "4\u00a0min 12\u00a0s", "3.0\u00a0GiB", "50\u00a0%"]);
});

it("device time is told in device seconds", () => {
  const said = [null, 0, 0.3456, 1.31, 45.2, 1250].map(deviceSeconds);
  expect(said.map((one) => one.replace("\u00a0", " "))).toEqual([
    "–",
    "no device time",
    "0.35 device seconds",
    "1.3 device seconds",
    "45 device seconds",
    "1,250 device seconds",
  ]);
});

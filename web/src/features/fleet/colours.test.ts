import { expect, it } from "vitest";

import { Colours, HUES, cssOf } from "./colours";

it("keeps a job's colour while others come and go", () => {
  const colours = new Colours();
  const first = colours.of("job-1");
  for (let at = 2; at < 20; at += 1) colours.of(`job-${at}`);
  expect(colours.of("job-1")).toEqual(first);
});

it("gives no two jobs in sight the same colour", () => {
  const colours = new Colours();
  const given = Array.from({ length: HUES * 2 }, (_, at) => JSON.stringify(colours.of(`job-${at}`)));
  expect(new Set(given).size).toBe(HUES * 2);
});

it("takes a colour back from the job that was not seen for the longest", () => {
  const colours = new Colours();
  const jobs = Array.from({ length: HUES * 2 }, (_, at) => `job-${at}`);
  const given = jobs.map((job) => colours.of(job));
  colours.of("job-0");
  expect(colours.of("another")).toEqual(given[1]);
  expect(colours.of("job-0")).toEqual(given[0]);
});

it("is told as OKLCH, lighter in the second round", () => {
  expect(cssOf({ hue: 120, isLight: false }, 0.6, 0.15)).toBe("oklch(0.6 0.15 120 / 1)");
  expect(cssOf({ hue: 120, isLight: true }, 0.9, 0.15, 0.5)).toBe("oklch(0.95 0.15 120 / 0.5)");
});

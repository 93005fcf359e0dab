import { expect, test } from "vitest";

import { NO_MASK } from "@/lib/mask";
import { type Placed, placedAs } from "@/lib/pictures";

import { beginWith, changeSettings, clear, followPicture, noteJob, useDesk } from "./desk";
import { controlOf } from "./given";

const SOURCE = {
  id: "one",
  name: "",
  size: [200, 100] as [number, number],
  bitmap: {} as ImageBitmap,
  blob: new Blob(),
};
const moved: Placed = { source: SOURCE, focus: { x: 0.9, y: 0.25 }, mask: NO_MASK };
const control = () => useDesk.getState().plan.settings.control;

test("a control image that was missing comes back where the grid has it", () => {
  changeSettings({ control: controlOf(moved, 0.5) });
  followPicture(placedAs(SOURCE));
  expect(control()).toEqual({ picture: "one", x: 0.9, y: 0.25, scale: 0.5 });
  expect(useDesk.getState().given.control?.focus).toEqual({ x: 0.9, y: 0.25 });
});

test("one that is there is moved by hand, and another one begins in its middle", () => {
  followPicture({ ...moved, focus: { x: 0.1, y: 0.1 } });
  expect(control()).toMatchObject({ x: 0.1, y: 0.1 });
  followPicture(placedAs({ ...SOURCE, id: "two" }));
  expect(control()).toMatchObject({ picture: "two", x: 0.5, y: 0.5 });
  followPicture(null);
  expect(control()).toBeNull();
});

test("an empty grid begins with the prompt that is being composed, and goes with it while nothing was made", () => {
  const prompt = () => useDesk.getState().plan.settings.prompt;
  clear();
  beginWith("a fox");
  expect(prompt()).toBe("a fox");
  beginWith("an owl");
  expect(prompt()).toBe("an owl");
  noteJob(useDesk.getState().plan.id, "cell", "job-1");
  beginWith("a hare");
  expect(prompt()).toBe("an owl");
});

test("a prompt of its own stays", () => {
  clear();
  beginWith("a fox");
  changeSettings({ prompt: "a fox in the snow" });
  beginWith("an owl");
  expect(useDesk.getState().plan.settings.prompt).toBe("a fox in the snow");
});

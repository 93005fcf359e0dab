/** A grid out of the page: as a picture, as settings, as an address. */

import { toast } from "sonner";

import type { Job } from "@/lib/api/client";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { copy } from "@/lib/clipboard";
import { nameOf } from "@/lib/jobs";
import { saveAs } from "@/lib/save";

import { exported } from "./drawing";
import type { Wanted } from "./given";
import { type Plan, cellsOf, titleOf } from "./grid";
import { titleOfPlan } from "./saved";

export async function exportGrid(plan: Plan, jobs: readonly (Job | null)[]): Promise<void> {
  try {
    const { blob, width, height } = await exported(plan, jobs);
    saveAs(blob, nameOf(`grid ${titleOfPlan(plan)}`, [], blob.type));
    toast.success("The grid is saved as a picture", { description: `${width} × ${height} pixels` });
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
}

export const copySettings = (plan: Plan, jobs: Readonly<Record<string, string>>): Promise<void> =>
  copied(settingsJson(plan, jobs), "Settings copied");

export const copyAddress = (settings: Wanted): Promise<void> =>
  copied(
    window.location.href,
    "The grid's address is copied",
    settings.start || settings.control ? "What it is made from is not in it: to make more of it, give that again." : "",
  );

/** Axes, settings and the jobs, for people and programs. */
export function settingsJson(plan: Plan, jobs: Readonly<Record<string, string>>): string {
  const axis = (one: Plan["across"]) => one && { setting: titleOf(one), values: one.values };
  const cells = cellsOf(plan).map(({ x, y, body, key }) => ({ cell: `${x},${y}`, job: jobs[key] ?? null, ...body }));
  return JSON.stringify({ grid: plan.id, across: axis(plan.across), down: axis(plan.down), cells }, null, 2);
}

async function copied(text: string, said: string, note = ""): Promise<void> {
  if (await copy(text)) toast.success(said, { description: note });
  else toast.error("This browser does not let pages copy.", { description: text });
}

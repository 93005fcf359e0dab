/** Grids that were made in this browser. */

import { create } from "zustand";

import { store, stored } from "@/lib/stored";

import { type Plan, axesOf, isVaried, titleOf } from "./grid";

export interface Saved {
  id: string;
  title: string;
  note: string;
  at: number;
  link: string;
}

const NAME = "darkroom.compare.saved";
const MOST = 24;

export const useSaved = create<{ grids: readonly Saved[] }>(() => ({ grids: stored(NAME, isSaved) ?? [] }));

/** The newest first; a grid that is there is replaced. */
export const withSaved = (grids: readonly Saved[], saved: Saved): Saved[] =>
  [saved, ...grids.filter(({ id }) => id !== saved.id)].slice(0, MOST);

export function save(plan: Plan, link: string): void {
  const at = Date.now();
  keep(withSaved(stored(NAME, isSaved) ?? [], { id: plan.id, title: titleOfPlan(plan), note: noteOf(plan), at, link }));
}

export const forget = (id: string): void => keep(useSaved.getState().grids.filter((one) => one.id !== id));

function keep(grids: readonly Saved[]): void {
  useSaved.setState({ grids });
  store(NAME, grids);
}

export function titleOfPlan(plan: Plan): string {
  const { prompt } = plan.settings;
  const varied = axesOf(plan).find((axis) => axis.kind === "prompt");
  return String(isVaried(plan, "prompt") ? (varied?.values[0] ?? "") : prompt).trim() || "A grid";
}

function noteOf(plan: Plan): string {
  const axes = axesOf(plan).map((axis) => `${titleOf(axis).toLowerCase()} (${axis.values.length})`);
  return axes.join(" by ");
}

function isSaved(value: unknown): value is Saved[] {
  return Array.isArray(value) && value.every(isOne);
}

function isOne(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { id, title, note, at, link } = value as Record<string, unknown>;
  return [id, title, note, link].every((one) => typeof one === "string") && typeof at === "number";
}

/** What lies on the table: the grid, the jobs that were made for it, and what became of those that were not. */

import { create } from "zustand";

import type { ApiError } from "@/lib/api/errors";
import { fittingSize } from "@/lib/crop";
import { keepPlaced, restored } from "@/lib/kept";
import type { Offer } from "@/lib/offer";
import type { Given, Placed } from "@/lib/pictures";

import { controlOf, startOf } from "./given";
import { type Plan, type Settings, isVaried, newPlan } from "./grid";
import type { Opened } from "./link";

interface Desk {
  plan: Plan;
  /** Job ids by the key of their cell; those of values that were taken away stay, and are found again. */
  jobs: Readonly<Record<string, string>>;
  /** Cells on their way to the gateway, and why they wait; null while under way. */
  sending: Readonly<Record<string, ApiError | null>>;
  /** Cells that the gateway refused. */
  faults: Readonly<Record<string, unknown>>;
  /** Pictures on the table; those of another grid may still lie here. */
  given: Given;
  /** The prompt that came from elsewhere; null where none did. */
  begun: string | null;
}

const STRENGTH = 0.7;
const PLACES = { start: "compare.image", control: "compare.control" } as const;

const NOTHING: Given = { start: null, control: null };

export const useDesk = create<Desk>(() => ({
  plan: newPlan(),
  jobs: {},
  sending: {},
  faults: {},
  given: NOTHING,
  begun: null,
}));

export const changePlan = (change: Partial<Plan>): void =>
  useDesk.setState(({ plan }) => ({ plan: { ...plan, ...change } }));

export const changeSettings = (change: Partial<Settings>): void =>
  useDesk.setState(({ plan }) => ({ plan: { ...plan, settings: { ...plan.settings, ...change } } }));

export const open = ({ plan, jobs }: Opened): void => useDesk.setState({ plan, jobs, faults: {} });

/**
 * A grid that has no prompt of its own begins with the one that is being composed elsewhere, and as long as nothing was
 * made or changed it goes with that.
 */
export function beginWith(prompt: string): void {
  const { plan, jobs, begun } = useDesk.getState();
  const { prompt: before } = plan.settings;
  if (Object.keys(jobs).length || (before.trim() && before !== begun)) return;
  useDesk.setState({ begun: prompt });
  if (before !== prompt) changeSettings({ prompt });
}

/** A fresh grid; the model stays. */
export function clear(): void {
  const { model } = useDesk.getState().plan.settings;
  const plan = newPlan();
  open({ plan: { ...plan, settings: { ...plan.settings, model } }, jobs: {} });
}

const without = <T>(all: Readonly<Record<string, T>>, key: string): Record<string, T> =>
  Object.fromEntries(Object.entries(all).filter(([one]) => one !== key));

export const noteSending = (key: string, error: ApiError | null): void =>
  useDesk.setState(({ sending, faults }) => ({ sending: { ...sending, [key]: error }, faults: without(faults, key) }));

export const noteSent = (key: string): void => useDesk.setState(({ sending }) => ({ sending: without(sending, key) }));

export const noteFault = (key: string, fault: unknown): void =>
  useDesk.setState(({ faults }) => ({ faults: { ...faults, [key]: fault } }));

/** The job of a cell, unless another grid was opened in the meantime. */
export const noteJob = (grid: string, key: string, job: string): void =>
  useDesk.setState(({ plan, jobs }) => (plan.id === grid ? { jobs: { ...jobs, [key]: job } } : {}));

/** All start from this picture; a new one is made at the offered size that fits it best, unless sizes vary. */
export function startFrom(placed: Placed | null, offer: Offer): void {
  const { plan, given } = useDesk.getState();
  const before = plan.settings.start;
  const isNew = placed !== null && placed.source.id !== before?.picture;
  const isBack = placed !== null && !isNew && given.start?.source.id !== before?.picture;
  const start = placed && isBack ? { ...placed, focus: { x: before?.x ?? 0.5, y: before?.y ?? 0.5 } } : placed;
  useDesk.setState({ given: { ...given, start } });
  changeSettings({ start: start && startOf(start, before?.strength ?? STRENGTH) });
  if (isNew && !isVaried(plan, "size")) changeSettings({ size: fittingSize(placed.source.size, offer).join("x") });
  keepPlaced(PLACES.start, start);
}

/** All follow this picture's lines; one that was missing comes back as the grid has it. */
export function followPicture(placed: Placed | null): void {
  const { plan, given } = useDesk.getState();
  const before = plan.settings.control;
  const isBack = placed?.source.id === before?.picture && given.control?.source.id !== before?.picture;
  const control = placed && before && isBack ? { ...placed, focus: { x: before.x, y: before.y } } : placed;
  useDesk.setState({ given: { ...given, control } });
  changeSettings({ control: control && controlOf(control, before?.scale ?? 1) });
  keepPlaced(PLACES.control, control);
}

/** The pictures that lay here before the page was loaded again. */
export async function restorePictures(): Promise<void> {
  const given = { start: await restored(PLACES.start), control: await restored(PLACES.control) };
  useDesk.setState(({ given: { start, control } }) => ({
    given: { start: start ?? given.start, control: control ?? given.control },
  }));
}

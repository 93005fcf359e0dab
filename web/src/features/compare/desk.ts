/** What lies on the table: the grid, the jobs that were made for it, and what became of those that were not. */

import { create } from "zustand";

import type { ApiError } from "@/lib/api/errors";

import { type Plan, type Settings, newPlan } from "./grid";
import type { Opened } from "./link";

interface Desk {
  plan: Plan;
  /** Job ids by the key of their cell; those of values that were taken away stay, and are found again. */
  jobs: Readonly<Record<string, string>>;
  /** Cells on their way to the gateway, and why they wait; null while under way. */
  sending: Readonly<Record<string, ApiError | null>>;
  /** Cells that the gateway refused. */
  faults: Readonly<Record<string, unknown>>;
}

export const useDesk = create<Desk>(() => ({ plan: newPlan(), jobs: {}, sending: {}, faults: {} }));

export const changePlan = (change: Partial<Plan>): void =>
  useDesk.setState(({ plan }) => ({ plan: { ...plan, ...change } }));

export const changeSettings = (change: Partial<Settings>): void =>
  useDesk.setState(({ plan }) => ({ plan: { ...plan, settings: { ...plan.settings, ...change } } }));

export const open = ({ plan, jobs }: Opened): void => useDesk.setState({ plan, jobs, faults: {} });

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

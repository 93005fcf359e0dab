/** Jobs on their way to the gateway: shown from the first moment, kept over a reload, sent until there is an answer. */

import { create } from "zustand";

import type { Job } from "@/lib/api/client";
import type { ApiError } from "@/lib/api/errors";
import { type Waiting, submit } from "@/lib/api/jobs";
import { type Frame, type JobBody, frameOf } from "@/lib/jobs";
import { randomKey } from "@/lib/random";
import { store, stored } from "@/lib/stored";

export interface Send {
  key: string;
  prompt: string;
  frame: Frame;
  /** Why it waits; null while it is under way. */
  error: ApiError | null;
  stop: () => void;
}

interface Unsent {
  key: string;
  body: JobBody;
}

const NAME = "darkroom.create.unsent";
const OLDEST_FIRST_AGAIN = 20; // at most so many are taken up after a reload

export const useSending = create<{ sends: readonly Send[] }>(() => ({ sends: [] }));

/** What to send: a body, or how to get one, which may take uploads. */
export interface Plan {
  prompt: string;
  frame: Frame;
  body: (waiting: Waiting) => Promise<JobBody>;
}

export const planOf = (body: JobBody): Plan => ({
  prompt: body.input.prompt,
  frame: frameOf(body.input),
  body: () => Promise.resolve(body),
});

/** Returns the job; null where it was stopped before it was sent. Raises `ApiError` where it was refused. */
export async function send(plan: Plan, key: string = randomKey()): Promise<Job | null> {
  const control = new AbortController();
  const patch = (change: Partial<Send>): void =>
    useSending.setState(({ sends }) => ({
      sends: sends.map((one) => (one.key === key ? { ...one, ...change } : one)),
    }));
  const waiting: Waiting = { signal: control.signal, onWait: (error) => patch({ error }) };
  const shown = { key, prompt: plan.prompt, frame: plan.frame, error: null, stop: () => control.abort() };
  useSending.setState(({ sends }) => ({ sends: [shown, ...sends.filter((one) => one.key !== key)] }));
  try {
    const body = await plan.body(waiting);
    keep((unsent) => [...unsent, { key, body }]);
    return await submit(body, { key, ...waiting });
  } catch (error) {
    if (control.signal.aborted) return null;
    throw error;
  } finally {
    keep((unsent) => unsent.filter((one) => one.key !== key));
    useSending.setState(({ sends }) => ({ sends: sends.filter((one) => one.key !== key) }));
  }
}

/** Send what an earlier page could not; the keys make sure that nothing is made twice. */
export function sendKept(onRefused: (error: unknown) => void): void {
  const known = new Set(useSending.getState().sends.map((one) => one.key));
  for (const { key, body } of kept().slice(-OLDEST_FIRST_AGAIN)) {
    if (!known.has(key)) send(planOf(body), key).catch(onRefused);
  }
}

function keep(change: (unsent: Unsent[]) => Unsent[]): void {
  const unique = new Map(change(kept()).map((one) => [one.key, one]));
  store(NAME, [...unique.values()]);
}

const kept = (): Unsent[] => stored(NAME, isUnsent) ?? [];

function isUnsent(value: unknown): value is Unsent[] {
  return (
    Array.isArray(value) &&
    value.every((one: unknown) => typeof one === "object" && one !== null && "key" in one && "body" in one)
  );
}

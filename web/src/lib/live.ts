/**
 * The live feed tells of all jobs; each job's latest word is kept here for who draws it.
 *
 * Words are gathered and given out ten times a second, so that three hundred jobs cost no more than one.
 */

import { create } from "zustand";

import { FINAL_STATES, type Job, api, dataOf } from "./api/client";
import { keys, queryClient, remember } from "./api/queries";
import { type Feed, type LiveEvent, everybodysFeed, ownFeed } from "./feeds";

/** What is known of a job between two looks at it. */
export interface Word {
  state?: Job["state"];
  step?: number;
  steps?: number;
  position?: number | null;
  eta_s?: number | null;
  preview?: string;
}

interface Live {
  isConnected: boolean;
  words: Record<string, Word>;
}

export const useLive = create<Live>(() => ({ isConnected: false, words: {} }));

/** The word on one job; empty while nothing was said of it. */
export const useWord = (id: string): Word => useLive((live) => live.words[id] ?? NOTHING);

const NOTHING: Word = {};
const GATHER_MS = 100;
const ASK_MS = 1000;
const PAUSES_MS = [250, 500, 1000, 2000, 5000];

/** What an event adds to the word on its job; null where a look at the job itself must follow. */
export function heard(word: Word, event: LiveEvent): Word {
  switch (event.type) {
    case "queued":
      return { ...word, state: "queued", position: event.position ?? null, eta_s: event.eta_s ?? null };
    case "started":
      return { ...word, state: "running", position: null };
    case "progress":
      return { ...word, state: "running", step: event.step ?? 0, steps: event.steps ?? 0 };
    case "preview":
      return event.image ? { ...word, preview: event.image } : word;
    case "requeued":
      return { ...word, state: "queued" };
    case "succeeded":
    case "failed":
    case "cancelled":
      return { ...word, state: event.type };
    default:
      return word;
  }
}

/** Follows a feed until stopped, over breaks, sleeps and restarts of the gateway. */
abstract class Follower {
  private stopping: AbortController | null = null;
  private isListening = false;
  private after = "";
  private pause = 0;
  private gathered = new Map<string, Word>();
  private timer: number | undefined;

  protected constructor(private readonly feed: Feed) {}

  start(): void {
    this.stopping = new AbortController();
    window.addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.hurry);
    void this.follow(this.stopping.signal);
  }

  stop(): void {
    window.removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.hurry);
    window.clearTimeout(this.timer);
    this.stopping?.abort();
    this.stopping = null;
  }

  /** Whether we hear what happens; `wasAway` after a break. */
  protected abstract onConnected(isConnected: boolean, wasAway: boolean): void;

  /** These jobs have ended, and their last words are given out. */
  protected abstract onEnded(ids: readonly string[]): void;

  private hurry = (): void => {
    if (document.visibilityState !== "visible" || this.isListening || !this.stopping) return;
    window.clearTimeout(this.timer);
    this.pause = 0;
    void this.follow(this.stopping.signal);
  };

  private async follow(stopped: AbortSignal): Promise<void> {
    this.isListening = true;
    const onOpen = (): void => {
      const wasAway = this.pause > 0;
      this.pause = 0;
      this.onConnected(true, wasAway);
    };
    try {
      await this.feed(this.after, { onOpen, onEvent: this.hear }, stopped);
    } catch {
      // it is tried again, as after a break
    }
    if (stopped.aborted) return;
    this.isListening = false;
    this.onConnected(false, false);
    const pause_ms = PAUSES_MS[Math.min(this.pause, PAUSES_MS.length - 1)];
    this.timer = window.setTimeout(() => void this.follow(stopped), pause_ms);
    this.pause += 1;
  }

  private hear = (event: LiveEvent): void => {
    this.after = String(event.seq);
    const before = this.gathered.get(event.job_id) ?? useLive.getState().words[event.job_id] ?? NOTHING;
    if (this.gathered.size === 0) window.setTimeout(this.giveOut, GATHER_MS);
    this.gathered.set(event.job_id, heard(before, event));
  };

  private giveOut = (): void => {
    const fresh = Object.fromEntries(this.gathered);
    this.gathered.clear();
    useLive.setState((live) => ({ words: { ...live.words, ...fresh } }));
    const ended = Object.entries(fresh).filter(([, word]) => word.state && FINAL_STATES.has(word.state));
    if (ended.length) this.onEnded(ended.map(([id]) => id));
  };
}

/** Of the caller's own jobs; each is looked at once more when it has ended, with its pictures. */
export class OwnFollower extends Follower {
  constructor() {
    super(ownFeed);
  }

  protected onConnected(isConnected: boolean, wasAway: boolean): void {
    useLive.setState({ isConnected });
    if (wasAway) void queryClient.invalidateQueries();
  }

  protected onEnded(ids: readonly string[]): void {
    for (const id of ids) void this.look(id);
  }

  /** Only once the job is here as it ended is the word on it let go, so that nothing flickers. */
  private async look(id: string): Promise<void> {
    try {
      remember(await dataOf(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } })));
    } catch {
      await queryClient.invalidateQueries({ queryKey: keys.job(id) });
    }
    letGo([id]);
  }
}

/** Of everybody's jobs, for operators: too many to look at each, so the list that shows them is asked for now and then. */
export class EverybodysFollower extends Follower {
  private ended: string[] = [];

  constructor(private readonly askAnew: () => Promise<unknown>) {
    super(everybodysFeed);
  }

  override stop(): void {
    super.stop();
    letGo(Object.keys(useLive.getState().words)); // nobody would say when others' jobs go on
  }

  protected onConnected(): void {
    // whether we are connected is what one's own feed says
  }

  protected onEnded(ids: readonly string[]): void {
    if (this.ended.length === 0) window.setTimeout(this.settle, ASK_MS);
    this.ended.push(...ids);
  }

  private settle = (): void => {
    const ids = this.ended;
    this.ended = [];
    void this.askAnew().finally(() => letGo(ids));
  };
}

function letGo(ids: readonly string[]): void {
  useLive.setState((live) => {
    const words = { ...live.words };
    for (const id of ids) delete words[id];
    return { words };
  });
}

/** A job as it stands: the last look at it, and what was said since. */
export function asItStands(job: Job, word: Word): Job {
  if (FINAL_STATES.has(job.state)) return job;
  const steps = word.steps ?? job.steps;
  const step = word.step ?? job.step;
  return {
    ...job,
    state: word.state ?? job.state,
    step,
    steps,
    progress: steps ? Math.min(1, step / steps) : job.progress,
    queue_position: word.position === undefined ? job.queue_position : word.position,
    eta_s: word.eta_s === undefined ? job.eta_s : word.eta_s,
  };
}

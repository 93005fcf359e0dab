/**
 * The live feed: one WebSocket tells of all jobs; each job's latest word is kept here for who draws it.
 *
 * Words are gathered and given out ten times a second, so that three hundred jobs cost no more than one.
 */

import { create } from "zustand";

import { FINAL_STATES, GATEWAY, type Job, api, dataOf } from "./api/client";
import { keys, queryClient, remember } from "./api/queries";
import { forgetToken, token } from "./api/token";
import { useSession } from "./session";

export interface LiveEvent {
  job_id: string;
  seq: number;
  at: string;
  type: "queued" | "started" | "progress" | "preview" | "output" | "requeued" | "succeeded" | "failed" | "cancelled";
  step?: number;
  steps?: number;
  progress?: number;
  position?: number | null;
  eta_s?: number | null;
  image?: string;
  worker?: string;
}

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

/** Follows the feed until stopped, over breaks, sleeps and restarts of the gateway. */
export class Follower {
  private socket: WebSocket | null = null;
  private after = "";
  private pause = 0;
  private gathered = new Map<string, Word>();
  private timer: number | undefined;
  private isStopped = false;

  start(): void {
    this.isStopped = false;
    window.addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.hurry);
    void this.connect();
  }

  stop(): void {
    this.isStopped = true;
    window.removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.hurry);
    window.clearTimeout(this.timer);
    this.socket?.close();
  }

  private hurry = (): void => {
    if (document.visibilityState === "visible" && this.socket === null && !this.isStopped) {
      window.clearTimeout(this.timer);
      this.pause = 0;
      void this.connect();
    }
  };

  private async connect(): Promise<void> {
    try {
      const shown = useSession.getState().key ? `&token=${encodeURIComponent(await token())}` : "";
      if (this.isStopped) return;
      const url = `${GATEWAY.replace(/^http/, "ws")}/v1/events/ws?after=${this.after}${shown}`;
      this.listen(new WebSocket(url));
    } catch {
      this.again();
    }
  }

  private listen(socket: WebSocket): void {
    this.socket = socket;
    socket.onopen = () => {
      const wasAway = this.pause > 0;
      this.pause = 0;
      useLive.setState({ isConnected: true });
      if (wasAway) void queryClient.invalidateQueries();
    };
    socket.onmessage = (message: MessageEvent<string>) => this.hear(JSON.parse(message.data) as LiveEvent);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      useLive.setState({ isConnected: false });
      if (!this.isStopped) this.again();
    };
  }

  private again(): void {
    forgetToken();
    this.timer = window.setTimeout(() => void this.connect(), PAUSES_MS[Math.min(this.pause, PAUSES_MS.length - 1)]);
    this.pause += 1;
  }

  private hear(event: LiveEvent): void {
    this.after = String(event.seq);
    const before = this.gathered.get(event.job_id) ?? useLive.getState().words[event.job_id] ?? NOTHING;
    if (this.gathered.size === 0) window.setTimeout(this.giveOut, GATHER_MS);
    this.gathered.set(event.job_id, heard(before, event));
  }

  private giveOut = (): void => {
    const fresh = Object.fromEntries(this.gathered);
    this.gathered.clear();
    useLive.setState((live) => ({ words: { ...live.words, ...fresh } }));
    const ended = Object.entries(fresh).filter(([, word]) => word.state && FINAL_STATES.has(word.state));
    for (const [id] of ended) void this.look(id);
  };

  /** The job as it ended, with its pictures; only then is the word on it let go, so that nothing flickers. */
  private async look(id: string): Promise<void> {
    try {
      remember(await dataOf(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } })));
    } catch {
      await queryClient.invalidateQueries({ queryKey: keys.job(id) });
    }
    useLive.setState((live) => {
      const words = { ...live.words };
      delete words[id];
      return { words };
    });
  }
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

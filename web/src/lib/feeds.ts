/**
 * The two ways to hear of jobs: one's own over a WebSocket, everybody's over a stream that shows the key in a header.
 *
 * A WebSocket shows a token in its address, which others may come to see; no token opens everybody's jobs.
 */

import { GATEWAY } from "./api/client";
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

export interface Ears {
  onOpen: () => void;
  onEvent: (event: LiveEvent) => void;
}

/** Follows events behind `after` ("": from now on) until it breaks or is `stopped`; rejects where it cannot begin. */
export type Feed = (after: string, ears: Ears, stopped: AbortSignal) => Promise<void>;

/** The caller's own jobs. */
export const ownFeed: Feed = async (after, ears, stopped) => {
  try {
    const shown = useSession.getState().key ? `&token=${encodeURIComponent(await token())}` : "";
    if (stopped.aborted) return;
    await listened(
      new WebSocket(`${GATEWAY.replace(/^http/, "ws")}/v1/events/ws?after=${after}${shown}`),
      ears,
      stopped,
    );
  } finally {
    if (!stopped.aborted) forgetToken();
  }
};

function listened(socket: WebSocket, ears: Ears, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    stopped.addEventListener("abort", () => socket.close(), { once: true });
    socket.onopen = ears.onOpen;
    socket.onmessage = (message: MessageEvent<string>) => {
      if (!stopped.aborted) ears.onEvent(JSON.parse(message.data) as LiveEvent);
    };
    socket.onclose = () => resolve();
  });
}

/** Everybody's jobs, for operators. */
export const everybodysFeed: Feed = async (after, ears, stopped) => {
  const key = useSession.getState().key;
  const response = await fetch(`${GATEWAY}/v1/events?all=true&after=${after}`, {
    headers: key ? { Authorization: `Bearer ${key}` } : {},
    credentials: GATEWAY === window.location.origin ? "same-origin" : "omit",
    signal: stopped,
  });
  if (!response.ok || !response.body) throw new Error(`the stream is refused: ${response.status}`);
  ears.onOpen();
  let rest = "";
  const texts = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await texts.read(); !part.done; part = await texts.read()) {
    const [events, left] = eventsIn(rest + part.value);
    events.forEach(ears.onEvent);
    rest = left;
  }
};

/** The whole events in a text of Server-Sent Events, as the gateway writes them, and what is left of the next. */
export function eventsIn(text: string): [LiveEvent[], string] {
  const blocks = text.split("\n\n");
  const left = blocks.pop() ?? "";
  const said = blocks.map((block) => block.split("\n").find((line) => line.startsWith("data: ")));
  return [said.flatMap((line) => (line ? [JSON.parse(line.slice(6)) as LiveEvent] : [])), left];
}

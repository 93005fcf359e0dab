/** Work on many pictures at once; it goes on when one leaves the room, and can be stopped. */

import { toast } from "sonner";
import { create } from "zustand";

import { api } from "@/lib/api/client";
import { ApiError, detailOf, sentenceOf } from "@/lib/api/errors";
import { overBreaks } from "@/lib/api/jobs";
import { keys, queryClient } from "@/lib/api/queries";

import type { Made, Piece } from "./made";
import { inParallel } from "./parallel";
import { drop } from "./shelf";
import { saveZip } from "./zip";

const WIDTH = 4;
const PLACE = "top-center"; // below is the selection
const TELL_MS = 150; // between two looks of the page at how far it is

export interface Work {
  name: "Deleting" | "Packing";
  done: number;
  of: number;
  stop: () => void;
}

export const useWork = create<{ work: Work | null }>(() => ({ work: null }));

/** The jobs of pictures, each once: a job goes with all that it made. */
export function jobsOf(pieces: readonly Piece[]): Made[] {
  return [...new Map(pieces.map(({ made }) => [made.id, made])).values()];
}

export const count = (number: number, one: string): string =>
  `${number.toLocaleString("en")} ${one}${number === 1 ? "" : "s"}`;

/** What is asked before it is deleted. */
export function questionOf(pieces: readonly Piece[]): { title: string; description: string } {
  const jobs = jobsOf(pieces);
  const pictures = jobs.reduce((sum, { pieces: all }) => sum + all.length, 0);
  const others = pictures - pieces.length;
  const along = others > 0 ? `A job is deleted with all that it made: ${count(others, "picture")} more. ` : "";
  const what = pictures === 1 ? "The picture is" : "The pictures are";
  return {
    title: `Delete ${pictures === 1 ? "this picture" : count(pictures, "picture")}?`,
    description: `${along}${what} removed from the server. This cannot be undone.`,
  };
}

/** Delete the jobs that made them; `onGone` hears of pictures as they go. */
export async function deleteAll(pieces: readonly Piece[], onGone: (ids: ReadonlySet<string>) => void): Promise<void> {
  const jobs = jobsOf(pieces);
  const { signal, step, end } = begin("Deleting", jobs.length, (gone: Made[]) => {
    drop(gone.map((one) => one.id));
    onGone(new Set(gone.flatMap((one) => one.pieces.map((piece) => piece.id))));
  });
  const failures = await inParallel(
    jobs,
    WIDTH,
    async (job) => {
      await remove(job.id, signal);
      step(job);
    },
    signal,
  );
  const done = end();
  tellEnd(`${done.toLocaleString("en")} deleted`, signal.aborted, failures, "could not be deleted, and stay selected");
}

async function remove(id: string, signal: AbortSignal): Promise<void> {
  try {
    await overBreaks(() => api.DELETE("/v1/jobs/{job_id}", { params: { path: { job_id: id } } }), { signal });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "not_found") throw error; // what is gone is as it should be
  }
  queryClient.setQueriesData<string[]>({ queryKey: keys.recent }, (ids) => ids?.filter((one) => one !== id));
  queryClient.removeQueries({ queryKey: keys.job(id) });
}

/** All of them as one file. */
export async function packAll(pieces: readonly Piece[]): Promise<void> {
  const { signal, step, end } = begin<Piece>("Packing", pieces.length);
  const failures: { item: Piece; error: unknown }[] = [];
  const onDone = (piece: Piece, error?: unknown): void => {
    if (error) failures.push({ item: piece, error });
    else step(piece);
  };
  const today = new Date().toISOString().slice(0, 10);
  let isStopped = false;
  try {
    await saveZip(pieces, `darkroom-${today}-${pieces.length}.zip`, { signal, onDone });
  } catch (error) {
    isStopped = true;
    const isWished = signal.aborted || (error instanceof DOMException && error.name === "AbortError");
    if (!isWished) toast.error("The file could not be made.", { description: detailOf(error), position: PLACE });
  }
  const done = end();
  if (!isStopped)
    tellEnd(`${count(done, "picture")} packed`, false, failures, "could not be fetched, and are left out");
}

/** Work that the page shows; what was done is told to `onDone` a few times a second. */
function begin<T>(name: Work["name"], of: number, onDone: (items: T[]) => void = () => undefined) {
  const stopper = new AbortController();
  let fresh: T[] = [];
  let done = 0;
  let told = 0;
  const tell = (): void => {
    told = performance.now();
    if (fresh.length > 0) onDone(fresh);
    fresh = [];
    useWork.setState(({ work }) => ({ work: work && { ...work, done } }));
  };
  useWork.setState({ work: { name, done, of, stop: () => stopper.abort() } });
  return {
    signal: stopper.signal,
    step: (item: T): void => {
      done += 1;
      fresh.push(item);
      if (performance.now() - told > TELL_MS) tell();
    },
    end: (): number => {
      tell();
      useWork.setState({ work: null });
      return done;
    },
  };
}

function tellEnd(said: string, isStopped: boolean, failures: readonly { error: unknown }[], how: string): void {
  const [first] = failures;
  if (!first) toast.success(isStopped ? `Stopped: ${said}` : said, { position: PLACE });
  else
    toast.error(`${said}; ${failures.length.toLocaleString("en")} ${how}`, {
      description: `${sentenceOf(first.error)} ${detailOf(first.error)}`,
      duration: 15_000,
      position: PLACE,
    });
}

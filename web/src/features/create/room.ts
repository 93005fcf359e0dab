/** What holds the room together: the model in use, what can be done with jobs, and the keys. */

import { type RefObject, useEffect, useMemo } from "react";
import { toast } from "sonner";

import type { JobDeeds } from "@/components/JobActions";
import type { Artifact, Job } from "@/lib/api/client";
import { ApiError, detailOf, sentenceOf } from "@/lib/api/errors";
import { keys, queryClient, useModel, useModels } from "@/lib/api/queries";
import { handOver, useHandover } from "@/lib/handover";
import { type Offer, offerOf } from "@/lib/offer";
import { useShortcuts } from "@/lib/shortcuts";

import { restorePictures, useDesk } from "./desk";
import { inputFrom, repeat, takeUp, tryAgain, vary } from "./making";
import { sendKept } from "./sending";

export type Deeds = JobDeeds & { onTryAgain: (job: Job) => void };
type Box = RefObject<HTMLTextAreaElement | null>;

/** What the chosen model takes: the one of the draft where it is served, else the first that works. */
export function useOffer() {
  const models = useModels();
  const wanted = useDesk((desk) => desk.draft.model);
  const served = models.data ?? [];
  const chosen = served.find((one) => one.id === wanted) ?? served.find((one) => one.problem === null) ?? served[0];
  const model = useModel(chosen?.id);
  const offer = useMemo(() => (model.data ? offerOf(model.data) : null), [model.data]);
  const isBare = models.isSuccess && served.length === 0;
  const none = isBare ? new ApiError({ code: "unknown_model", message: "No model is served here." }, 404) : null;
  return { offer, models: served, problem: models.error ?? model.error ?? none };
}

export function useDeeds(offer: Offer | null, box: Box): Deeds {
  return useMemo(
    () => ({
      onVary: (job) => void vary(job),
      onRepeat: (job, of) => void repeat(job, of),
      onTryAgain: (job) => void tryAgain(job),
      onUse: (job, output) => void inputFrom(job, output, offer).then(() => toTop(box)),
      onSettings: (job, of) => {
        if (!offer) return;
        const input = of ? { ...job.input, seed: of.seed, num_images_per_prompt: 1 } : job.input;
        void takeUp(input, job.model, offer).then(() => toTop(box));
      },
    }),
    [offer, box],
  );
}

function toTop(box: Box): void {
  box.current?.focus({ preventScroll: true });
  box.current?.scrollIntoView({ block: "center", behavior: "smooth" });
}

/** What an earlier page left, and what another room handed over. */
export function useTakenUp(deeds: Deeds, offer: Offer | null): void {
  useEffect(() => {
    void restorePictures();
    sendKept((error) => toast.error(sentenceOf(error), { description: detailOf(error) }));
  }, []);
  const handed = useHandover((state) => state.handed);
  useEffect(() => {
    if (!handed || !offer) return;
    handOver(null);
    if (handed.kind === "picture") deeds.onUse?.(handed.job, handed.output);
    else deeds.onSettings?.(handed.job, handed.output);
  }, [handed, offer, deeds]);
}

interface Keyed {
  box: Box;
  deeds: Deeds;
  onOpen: (artifact: string) => void;
  onHelp: () => void;
}

export function useKeys({ box, deeds, onOpen, onHelp }: Keyed): void {
  const on = (act: (job: Job, first: Artifact) => void) => () => {
    const [job, first] = focused();
    if (job && first) act(job, first);
  };
  const walk = (by: number) => () => walkBy(by);
  const walkFromCard = (by: number) => () => {
    if (focusedCard()) walkBy(by);
  };
  useShortcuts({
    "/": () => toTop(box),
    "?": onHelp,
    j: walk(1),
    k: walk(-1),
    ArrowRight: walkFromCard(1),
    ArrowLeft: walkFromCard(-1),
    v: on((job) => deeds.onVary?.(job)),
    u: on((job, first) => deeds.onUse?.(job, first)),
    o: on((_, first) => onOpen(first.artifact_id)),
  });
}

const CARD = "[data-job]";

const focusedCard = (): HTMLElement | null => document.activeElement?.closest<HTMLElement>(CARD) ?? null;

function focused(): [Job | undefined, Artifact | undefined] {
  const job = queryClient.getQueryData<Job>(keys.job(focusedCard()?.dataset.job ?? ""));
  return [job, job?.outputs[0]];
}

function walkBy(by: number): void {
  const cards = [...document.querySelectorAll<HTMLElement>(CARD)];
  const here = focusedCard();
  const at = here ? cards.indexOf(here) + by : 0;
  const next = cards[Math.min(cards.length - 1, Math.max(0, at))];
  next?.focus({ preventScroll: true });
  next?.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

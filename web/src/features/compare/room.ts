/** What holds the room together: the models, the estimate, what is chosen. */

import { useQuery } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";

import { api, dataOf } from "@/lib/api/client";
import { ApiError } from "@/lib/api/errors";
import { useModel, useModels } from "@/lib/api/queries";
import { type Offer, offerOf } from "@/lib/offer";
import type { Given } from "@/lib/pictures";

import { faultOf } from "./axis";
import { changeSettings, useDesk } from "./desk";
import { type Estimate, estimateOf } from "./estimate";
import { lacking } from "./given";
import { type Cell, type Plan, axesOf, isVaried, titleOf, valueText } from "./grid";

/** What the model takes by which the form is drawn: the grid's own, or the first of those that vary. */
export function useOffer() {
  const models = useModels();
  const plan = useDesk((desk) => desk.plan);
  const served = models.data ?? [];
  const varied = axesOf(plan).find((axis) => axis.kind === "model")?.values[0];
  const wanted = varied ?? plan.settings.model;
  const chosen = served.find(({ id }) => id === wanted) ?? served.find(({ problem }) => problem === null) ?? served[0];
  const model = useModel(chosen?.id);
  const offer = useMemo(() => (model.data ? offerOf(model.data) : null), [model.data]);
  const isNamed = plan.settings.model !== "";
  useEffect(() => {
    if (!isNamed && chosen) changeSettings({ model: chosen.id });
  }, [isNamed, chosen]);
  const isBare = models.isSuccess && served.length === 0;
  const none = isBare ? new ApiError({ code: "unknown_model", message: "No model is served here." }, 404) : null;
  const retry = (): void => void (models.isError ? models.refetch() : model.refetch());
  return { offer, models: served, problem: models.error ?? model.error ?? none, retry };
}

const PAST = 100; // finished jobs from which is guessed what others will take

export function useEstimate(cells: readonly Cell[]): Estimate | null {
  const models = useModels().data;
  const past = useQuery({
    queryKey: ["jobs", "past", PAST],
    queryFn: async () =>
      (await dataOf(api.GET("/v1/jobs", { params: { query: { state: "succeeded", limit: PAST } } }))).data,
    staleTime: 60_000,
  }).data;
  return useMemo(
    () =>
      estimateOf(
        cells.map(({ settings }) => settings),
        models ?? [],
        past ?? [],
      ),
    [cells, models, past],
  );
}

/** What the grid still needs before it can be made; empty where nothing. */
export function lackOf(plan: Plan, offer: Offer | null, given: Given): string {
  return planLack(plan, offer) || lacking(plan.settings, given);
}

function planLack(plan: Plan, offer: Offer | null): string {
  if (!offer) return "Asking what the model takes.";
  for (const axis of axesOf(plan)) {
    if (axis.values.length === 0) return `${titleOf(axis)}: give it some values.`;
    for (const value of axis.values) {
      const fault = axis.kind === "model" ? null : faultOf(axis.kind, value, offer);
      if (fault) return `${titleOf(axis)} ${valueText(axis.kind, value)}: ${fault}`;
    }
  }
  const { prompt, size, start, control } = plan.settings;
  if (!prompt.trim() && !isVaried(plan, "prompt")) return "Say what all of them shall show.";
  if (isVaried(plan, "strength") && !start) return "Strength: give a picture to start from.";
  if (start && !offer.takesImage) return `${offer.model} does not start from a picture: take it away.`;
  if (start?.mask && !offer.takesMask) return `${offer.model} does not paint parts anew: take the mask away.`;
  if (control && !offer.controlScale) return `${offer.model} follows no control image: take it away.`;
  if ((start ?? control) && !size && !isVaried(plan, "size")) return "Say a size: the picture is cut to it.";
  return (size && !isVaried(plan, "size") && faultOf("size", size, offer)) || "";
}

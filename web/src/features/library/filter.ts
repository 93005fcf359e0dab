/** What of it is shown: words searched for and what was chosen; lives in the URL. */

import type { Made, Piece } from "./made";

export type Order = "newest" | "oldest";

export interface Filter {
  words: string;
  model: string;
  task: string;
  /** "WIDTHxHEIGHT" */
  size: string;
  /** "preset:NAME" or "adapter:NAME" */
  way: string;
  /** Days of this browser's calendar, "2030-01-31"; both are included. */
  from: string;
  to: string;
  order: Order;
}

export const ALL: Filter = { words: "", model: "", task: "", size: "", way: "", from: "", to: "", order: "newest" };

const NAMES: Record<keyof Filter, string> = {
  words: "q",
  model: "model",
  task: "task",
  size: "size",
  way: "with",
  from: "from",
  to: "to",
  order: "sort",
};
const CHOSEN = ["model", "task", "size", "way", "from", "to"] as const;

export function filterFrom(params: URLSearchParams): Filter {
  const said = (name: keyof Filter): string => params.get(NAMES[name]) ?? "";
  const filter = { ...ALL, words: said("words"), order: said("order") === "oldest" ? "oldest" : "newest" } as const;
  return { ...filter, ...Object.fromEntries(CHOSEN.map((name) => [name, said(name)])) };
}

/** As a query; what is not asked for is left out. */
export function paramsOf(filter: Filter): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(filter) as [keyof Filter, string][])
    if (value !== ALL[name]) params.set(NAMES[name], value);
  return params;
}

/** How many of the folded ones are in use. */
export const countChosen = (filter: Filter): number => CHOSEN.filter((name) => filter[name] !== "").length;

export const isAll = (filter: Filter): boolean => filter.words.trim() === "" && countChosen(filter) === 0;

/** A preset as the model's answer tells it. */
export interface PresetSaid {
  num_inference_steps?: number | null;
  guidance_scale?: number | null;
  solver?: string | null;
  adapters?: Readonly<Record<string, number>> | null;
}

export type Presets = Readonly<Record<string, Readonly<Record<string, PresetSaid>>>>;

/** The model's preset whose settings it has; jobs keep the settings, not the name. */
export function presetOf(made: Made, presets: Presets): string | null {
  const found = Object.entries(presets[made.model] ?? {}).find(
    ([, said]) =>
      said.num_inference_steps === made.steps &&
      (said.guidance_scale ?? made.guidance) === made.guidance &&
      (said.solver ?? made.solver) === made.solver &&
      Object.keys(said.adapters ?? {}).every((name) => made.adapters.includes(name)),
  );
  return found?.[0] ?? null;
}

const ID_LENGTH = 6; // shorter ones would find half of all ids by chance

/** The words of a search, in lower case; "what is quoted" stays together. */
export function wordsOf(text: string): string[] {
  const parts = text.toLowerCase().match(/"[^"]*"?|[^\s"]+/g) ?? [];
  return parts.map((part) => part.replaceAll('"', "").trim()).filter(Boolean);
}

function has(piece: Piece, word: string): boolean {
  const { made } = piece;
  if (made.words.includes(word) || String(piece.seed).startsWith(word)) return true;
  return word.length >= ID_LENGTH && (made.id.includes(word) || piece.id.includes(word));
}

/** The pictures that it asks for, in its order; `made` is newest first. */
export function piecesOf(made: readonly Made[], filter: Filter, presets: Presets = {}): Piece[] {
  const words = wordsOf(filter.words);
  const fits = fitting(filter, presets);
  const pieces: Piece[] = [];
  for (const one of made) {
    if (!fits(one)) continue;
    for (const piece of one.pieces) {
      if (filter.size && sizeOf(piece) !== filter.size) continue;
      if (words.every((word) => has(piece, word))) pieces.push(piece);
    }
  }
  return filter.order === "oldest" ? pieces.reverse() : pieces;
}

function fitting(filter: Filter, presets: Presets): (made: Made) => boolean {
  const { model, task, way } = filter;
  const since = filter.from ? midnight(filter.from) : -Infinity;
  const until = filter.to ? midnight(filter.to, 1) : Infinity;
  const [kind, name = ""] = way ? [way.slice(0, way.indexOf(":")), way.slice(way.indexOf(":") + 1)] : [""];
  return (made) =>
    (!model || made.model === model) &&
    (!task || made.task === task) &&
    made.at >= since &&
    made.at < until &&
    (kind !== "adapter" || made.adapters.includes(name)) &&
    (kind !== "preset" || presetOf(made, presets) === name);
}

/** The beginning of a day here, or of one some days later; a day that is none bounds nothing. */
function midnight(day: string, later = 0): number {
  const [year = NaN, month = NaN, date = NaN] = day.split("-").map(Number);
  const at = new Date(year, month - 1, date + later).getTime();
  return Number.isNaN(at) ? (later ? Infinity : -Infinity) : at;
}

export const sizeOf = ({ width, height }: Pick<Piece, "width" | "height">): string => `${width}x${height}`;

export interface Choices {
  models: string[];
  tasks: string[];
  sizes: string[];
  adapters: string[];
  presets: string[];
}

/** What there is to choose from, in all that was made. */
export function choicesOf(made: readonly Made[], presets: Presets = {}): Choices {
  const models = new Set(made.map((one) => one.model));
  const tasks = new Set(made.map((one) => one.task));
  const adapters = new Set(made.flatMap((one) => one.adapters));
  const sizes = new Set(made.flatMap((one) => one.pieces.map(sizeOf)));
  const named = [...models].flatMap((model) => Object.keys(presets[model] ?? {}));
  return {
    models: [...models].sort(),
    tasks: [...tasks].sort(),
    sizes: [...sizes].sort((one, other) => areaOf(one) - areaOf(other) || one.localeCompare(other)),
    adapters: [...adapters].sort(),
    presets: [...new Set(named)],
  };
}

const areaOf = (size: string): number => size.split("x").reduce((product, side) => product * Number(side), 1);

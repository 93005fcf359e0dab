/**
 * A grid as the end of a URL: JSON, compressed where the browser can (RFC 1951), as base64url (RFC 4648, 5).
 *
 * The first letter says which: `z` compressed, `p` plain. What comes in a URL may be anybody's: it is checked in full.
 */

import { entryOf } from "./axis";
import type { Wanted } from "./given";
import { KINDS, MOST, type Axis, type Kind, type Plan, type Settings, type Value, cellsOf } from "./grid";

export interface Opened {
  plan: Plan;
  /** Job ids by the key of their cell. */
  jobs: Record<string, string>;
}

type Packed = [1, string, PackedSettings, PackedAxis | 0, PackedAxis | 0, string[]];
type PackedAxis = [Kind, string, readonly Value[]];
type PackedSettings = [
  model: string,
  prompt: string,
  negative: string,
  preset: string | null,
  steps: number | null,
  guidance: number | null,
  solver: string | null,
  size: string | null,
  seed: number,
  adapters: Readonly<Record<string, number>>,
  start: PackedStart | 0,
  control: PackedControl | 0,
];
type PackedStart = [picture: string, x: number, y: number, mask: string, strength: number];
type PackedControl = [picture: string, x: number, y: number, scale: number];

const LONGEST = 60_000; // characters of a link
const LARGEST = 400_000; // bytes of what is in it

export async function linkOf(plan: Plan, jobs: Readonly<Record<string, string>>): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(packed(plan, jobs)));
  if (!("CompressionStream" in globalThis)) return `p${toText(bytes)}`;
  return `z${toText(await through(bytes, new CompressionStream("deflate-raw")))}`;
}

/** The grid of a link; null for what is none. */
export async function gridOf(link: string): Promise<Opened | null> {
  try {
    if (link.length > LONGEST) return null;
    const bytes = toBytes(link.slice(1));
    const plain = link.startsWith("z") ? await through(bytes, new DecompressionStream("deflate-raw"), LARGEST) : bytes;
    return unpacked(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain)));
  } catch {
    return null;
  }
}

function packed(plan: Plan, jobs: Readonly<Record<string, string>>): Packed {
  const { settings: s } = plan;
  const axis = (one: Axis | null): PackedAxis | 0 => (one ? [one.kind, one.adapter, one.values] : 0);
  const start: PackedStart | 0 = s.start ? [s.start.picture, s.start.x, s.start.y, s.start.mask, s.start.strength] : 0;
  const control: PackedControl | 0 = s.control ? [s.control.picture, s.control.x, s.control.y, s.control.scale] : 0;
  const ids = cellsOf(plan).map(({ key }) => jobs[key] ?? "");
  return [
    1,
    plan.id,
    [
      s.model,
      s.prompt,
      s.negative,
      s.preset,
      s.steps,
      s.guidance,
      s.solver,
      s.size,
      s.seed,
      s.adapters,
      start,
      control,
    ],
    axis(plan.across),
    axis(plan.down),
    ids.some(Boolean) ? ids : [],
  ];
}

function unpacked(said: unknown): Opened | null {
  if (!Array.isArray(said) || said[0] !== 1) return null;
  const [, id, settings, across, down, ids] = said as unknown[];
  if (!isId(id) || !isSettings(settings) || !isAxis(across) || !isAxis(down) || !Array.isArray(ids)) return null;
  const [model, prompt, negative, preset, steps, guidance, solver, size, seed, adapters, ...pictures] = settings;
  const wanted = wantedFrom(...pictures);
  const whole: Settings = { model, prompt, negative, preset, steps, guidance, solver, size, seed, adapters, ...wanted };
  const plan: Plan = { id, settings: whole, across: axisFrom(across), down: axisFrom(down) };
  const jobs: Record<string, string> = {};
  cellsOf(plan).forEach(({ key }, at) => {
    const job: unknown = ids[at];
    if (isId(job)) jobs[key] = job;
  });
  return { plan, jobs };
}

/** Links of an earlier page say nothing of pictures. */
function wantedFrom(start: PackedStart | 0 = 0, control: PackedControl | 0 = 0): Wanted {
  return {
    start: start === 0 ? null : { picture: start[0], x: start[1], y: start[2], mask: start[3], strength: start[4] },
    control: control === 0 ? null : { picture: control[0], x: control[1], y: control[2], scale: control[3] },
  };
}

const axisFrom = (axis: PackedAxis | 0): Axis | null =>
  axis === 0 ? null : { kind: axis[0], adapter: axis[1], values: axis[2] };

const isId = (value: unknown): value is string => typeof value === "string" && /^[\w-]{1,80}$/.test(value);

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= 20_000;

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

const orNull =
  <T>(is: (value: unknown) => value is T) =>
  (value: unknown): value is T | null =>
    value === null || is(value);

const isWeights = (value: unknown): value is Record<string, number> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every(isNumber);

const SETTINGS: readonly ((value: unknown) => boolean)[] = [
  isText,
  isText,
  isText,
  orNull(isText),
  orNull(isNumber),
  orNull(isNumber),
  orNull(isText),
  orNull(isText),
  (value) => Number.isSafeInteger(value),
  isWeights,
  isPicture([isId, isNumber, isNumber, isText, isNumber]),
  isPicture([isId, isNumber, isNumber, isNumber]),
];

function isPicture(parts: readonly ((value: unknown) => boolean)[]) {
  return (value: unknown): boolean =>
    value === undefined ||
    value === 0 ||
    (Array.isArray(value) && value.length === parts.length && parts.every((is, at) => is(value[at])));
}

const isSettings = (value: unknown): value is PackedSettings =>
  Array.isArray(value) && SETTINGS.every((is, at) => is(value[at]));

function isAxis(value: unknown): value is PackedAxis | 0 {
  if (value === 0) return true;
  if (!Array.isArray(value)) return false;
  const [kind, adapter, values] = value as unknown[];
  const isKind = KINDS.some((one) => one === kind);
  return isKind && isText(adapter) && Array.isArray(values) && values.length <= MOST && values.every(isValue(kind));
}

const isValue =
  (kind: unknown) =>
  (value: unknown): boolean =>
    entryOf(kind as Kind) === "numbers" ? isNumber(value) : isText(value);

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  change: CompressionStream | DecompressionStream,
  most = Infinity,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new Blob([bytes]).stream().pipeThrough(change).getReader();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    parts.push(read.value);
    length += read.value.length;
    if (length > most) throw new Error("too much in a link");
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function toText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

const toBytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

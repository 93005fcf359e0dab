/** Numbers and times as people read them; a number and its unit stay on one line. */

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 1) return joined(Math.round(value * 1000), "ms");
  if (value < 10) return joined(value.toFixed(1), "s");
  if (value < 60) return joined(Math.round(value), "s");
  if (value < 3600) return `${joined(Math.floor(value / 60), "min")} ${joined(Math.round(value % 60), "s")}`;
  return `${joined(Math.floor(value / 3600), "h")} ${joined(Math.round((value % 3600) / 60), "min")}`;
}

const joined = (value: number | string, unit: string): string => `${value}\u00a0${unit}`;

/** What a job takes of a device, however many share it: "1.3 device seconds". */
export function deviceSeconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "no device time";
  const said = value < 1 ? String(Number(value.toPrecision(2))) : value < 10 ? value.toFixed(1) : count(value);
  return `${said}\u00a0device seconds`;
}

const count = (value: number): string => Math.round(value).toLocaleString("en");

export function dollars(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "$0";
  return value < 0.01 ? `$${value.toPrecision(2)}` : `$${value.toFixed(2)}`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return joined(power === 0 || scaled >= 10 ? Math.round(scaled) : scaled.toFixed(1), units[power] ?? "");
}

export function share(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : joined(Math.round(value * 100), "%");
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** "3 min ago"; within the last minute "just now". */
export function ago(at: string | number | Date, now: number = Date.now()): string {
  const passed = (now - new Date(at).getTime()) / 1000;
  for (const [unit, size] of STEPS) if (passed >= size) return RELATIVE.format(-Math.floor(passed / size), unit);
  return "just now";
}

export function moment(at: string): string {
  return new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

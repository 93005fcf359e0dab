/** The theme's colours for what is drawn on canvases, which style sheets do not reach. */

import { useSyncExternalStore } from "react";

export interface Look {
  paper: string;
  surface: string;
  sunken: string;
  line: string;
  lineStrong: string;
  ink: string;
  inkSoft: string;
  accent: string;
  good: string;
  warn: string;
  bad: string;
  jobLightness: number;
  jobChroma: number;
}

let kept: Look | null = null;

/** The look of the page as it is now; another object once the theme has changed. */
export const useLook = (): Look => useSyncExternalStore(follow, look);

function look(): Look {
  kept ??= read();
  return kept;
}

function read(): Look {
  const probe = document.body.appendChild(document.createElement("i"));
  const style = getComputedStyle(probe);
  const of = (name: string): string => {
    probe.style.color = `var(${name})`; // a canvas knows no light-dark()
    return hexOf(style.color);
  };
  const number = (name: string): number => Number(style.getPropertyValue(name));
  const found: Look = {
    paper: of("--paper"),
    surface: of("--surface"),
    sunken: of("--sunken"),
    line: of("--line"),
    lineStrong: of("--line-strong"),
    ink: of("--ink"),
    inkSoft: of("--ink-soft"),
    accent: of("--accent"),
    good: of("--good"),
    warn: of("--warn"),
    bad: of("--bad"),
    jobLightness: number("--job-lightness") || 0.7,
    jobChroma: number("--job-chroma") || 0.15,
  };
  probe.remove();
  return found;
}

/** "rgb(1, 2, 3)" as "#010203", to which an opacity can be added. */
function hexOf(color: string): string {
  const parts = color.match(/[\d.]+/g)?.slice(0, 3) ?? [];
  return `#${parts.map((part) => Math.round(Number(part)).toString(16).padStart(2, "0")).join("")}`;
}

function follow(onChange: () => void): () => void {
  const change = (): void => {
    kept = null;
    onChange();
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const watch = new MutationObserver(change);
  watch.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  dark.addEventListener("change", change);
  kept = null;
  return () => {
    watch.disconnect();
    dark.removeEventListener("change", change);
  };
}

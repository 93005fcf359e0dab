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
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(name).trim();
  return {
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
    jobLightness: Number(of("--job-lightness")) || 0.65,
    jobChroma: Number(of("--job-chroma")) || 0.15,
  };
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

/** Where the grid lies on the page: its width, how far down it begins, and how much of the window the toolbar covers. */

import { useLayoutEffect, useRef, useState } from "react";

export interface Box {
  width: number;
  top: number;
  barHeight: number;
}

const NOWHERE: Box = { width: 0, top: 0, barHeight: 0 };

export function useBox() {
  const ref = useRef<HTMLDivElement>(null);
  const [box, setBox] = useState(NOWHERE);
  useLayoutEffect(() => {
    const grid = ref.current;
    const look = (): void => {
      if (!grid) return;
      const { top, width } = grid.getBoundingClientRect();
      const next = { width: Math.floor(width), top: Math.round(top + window.scrollY), barHeight: coveredHeight() };
      setBox((before) => (isSame(before, next) ? before : next));
    };
    look();
    const observer = new ResizeObserver(look);
    if (grid) observer.observe(grid);
    for (const one of document.querySelectorAll("[data-bar]")) observer.observe(one); // it unfolds, and the grid moves
    return () => observer.disconnect();
  }, []);
  return { ref, ...box };
}

const isSame = (one: Box, other: Box): boolean =>
  one.width === other.width && one.top === other.top && one.barHeight === other.barHeight;

function coveredHeight(): number {
  const bar = document.querySelector("[data-bar]");
  if (!bar) return 0;
  return Math.round(bar.getBoundingClientRect().height + (parseFloat(getComputedStyle(bar).top) || 0));
}

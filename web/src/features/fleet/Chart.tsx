import "uplot/dist/uPlot.min.css";

import { useEffect, useRef } from "react";
import UPlot from "uplot";

import { dollars } from "@/lib/format";

import styles from "./Charts.module.css";
import { type Look, useLook } from "./look";
import { type Columns, roomFor } from "./series";

export interface Line {
  name: string;
  ink: "accent" | "inkSoft" | "lineStrong" | "good" | "bad";
  isBar?: boolean;
  isDashed?: boolean;
  /** A line with an axis of its own. */
  unit?: "cost";
}

interface Props {
  columns: Columns;
  /** In the order of the columns; the same list each time. */
  lines: readonly Line[];
  say: (value: number) => string;
  /** Half of one means nothing. */
  isWhole?: boolean;
}

const WHOLE_STEPS = [1, 2, 5]
  .flatMap((step) => [0, 1, 2, 3, 4, 5].map((power) => step * 10 ** power))
  .sort((a, b) => a - b);

/** Lines or bars over time; what it shows is said in words beside it. */
export function Chart({ columns, lines, say, isWhole = false }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(null);
  const look = useLook();
  useEffect(() => {
    const parent = place.current;
    if (!parent) return undefined;
    const made = new UPlot(optionsOf({ lines, say, isWhole }, look, parent), [[]], parent);
    plot.current = made;
    const sizes = new ResizeObserver(() => made.setSize({ width: parent.clientWidth, height: parent.clientHeight }));
    sizes.observe(parent);
    return () => {
      sizes.disconnect();
      made.destroy();
    };
  }, [lines, say, isWhole, look]);
  useEffect(() => plot.current?.setData(columns), [columns, lines, say, isWhole, look]);
  return <div ref={place} aria-hidden className={styles.plot} />;
}

function optionsOf({ lines, say, isWhole }: Required<Omit<Props, "columns">>, look: Look, parent: HTMLElement) {
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: look.inkSoft, font, ticks: { show: false } };
  const grid = { stroke: look.line, width: 1 };
  const size = (plot: UPlot, said: string[] | null): number => roomFor(said ?? [], measureOf(plot.ctx, font));
  const each = (said: number[], of: (value: number) => string): string[] => said.map((value) => of(value));
  const hasCost = lines.some((line) => line.unit === "cost");
  return {
    width: parent.clientWidth || 320,
    height: parent.clientHeight || 176,
    legend: { show: false },
    cursor: { show: false },
    padding: [8, hasCost ? 0 : 20, 0, 0] as UPlot.Padding,
    scales: { y: { range: fromZero }, cost: { range: fromZero } },
    axes: [
      { ...axis, grid: { show: false }, size: 26, space: 64, values: (_: UPlot, said: number[]) => said.map(clockOf) },
      {
        ...axis,
        grid,
        size,
        ...(isWhole ? { incrs: WHOLE_STEPS } : {}),
        values: (_: UPlot, said: number[]) => each(said, say),
      },
      ...(hasCost
        ? [
            {
              ...axis,
              scale: "cost",
              side: 1 as const,
              size,
              grid: { show: false },
              values: (_: UPlot, said: number[]) => each(said, dollars),
            },
          ]
        : []),
    ],
    series: [{}, ...lines.map((line) => seriesOf(line, look))],
  } satisfies UPlot.Options;
}

/** How wide texts are in that font, in CSS pixels. */
function measureOf(pen: CanvasRenderingContext2D, font: string) {
  return (text: string): number => {
    const before = pen.font;
    pen.font = font;
    const { width } = pen.measureText(text);
    pen.font = before;
    return width;
  };
}

function seriesOf({ ink, isBar, isDashed, unit }: Line, look: Look): UPlot.Series {
  const bars = UPlot.paths.bars?.({ size: [0.7, 24], radius: 0.15 });
  return {
    scale: unit ?? "y",
    stroke: look[ink],
    width: isBar ? 0 : 2,
    spanGaps: !isBar,
    points: { show: !isBar, size: 5, fill: look[ink] },
    ...(isBar ? { fill: look[ink], ...(bars ? { paths: bars } : {}) } : {}),
    ...(isDashed ? { dash: [4, 4] } : {}),
  };
}

/** Axes begin at nought, and have some height where there is nothing. */
const fromZero = (_: UPlot, __: number | null, highest: number | null): [number, number] => [
  0,
  (highest ?? 0) * 1.1 || 1,
];

const clockOf = (at: number): string =>
  new Date(at * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

import { type PointerEvent, useRef, useState } from "react";

import type { View } from "@/lib/zoom";

import { type Plan, cellText } from "./grid";
import { Pane } from "./Pane";
import type { Spot } from "./standing";
import styles from "./Wipe.module.css";

interface Props {
  plan: Plan;
  first: Spot;
  second: Spot;
  view: View;
  onView: (change: (view: View) => View) => void;
}

/** One picture left of a line, the other right of it; the line is moved by hand or with the track beneath. */
export function Wipe({ plan, first, second, view, onView }: Props) {
  const [part, setPart] = useState(50);
  const box = useRef<HTMLDivElement>(null);
  const drag = (event: PointerEvent): void => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const { left, width } = box.current?.getBoundingClientRect() ?? new DOMRect(0, 0, 1, 1);
    setPart(Math.min(100, Math.max(0, ((event.clientX - left) / width) * 100)));
  };
  return (
    <div ref={box} className={styles.wipe}>
      <Pane plan={plan} spot={first} view={view} onView={onView} />
      <div className={styles.over} style={{ clipPath: `inset(0 0 0 ${part}%)` }}>
        <Pane plan={plan} spot={second} view={view} onView={onView} />
      </div>
      <div
        aria-hidden
        className={styles.line}
        style={{ left: `${part}%` }}
        onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
        onPointerMove={drag}
      />
      <div className={styles.names}>
        <span>{cellText(plan, first.cell)}</span>
        <input
          type="range"
          aria-label="Where the one ends and the other begins"
          min={0}
          max={100}
          value={part}
          onChange={(event) => setPart(event.target.valueAsNumber)}
        />
        <span>{cellText(plan, second.cell)}</span>
      </div>
    </div>
  );
}

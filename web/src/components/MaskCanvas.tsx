import { type KeyboardEvent, type PointerEvent, useEffect, useRef, useState } from "react";

import type { Size } from "@/lib/offer";

import type { Rect } from "@/lib/crop";
import { drawHatched } from "@/lib/hatch";
import type { Deed, Mask, Point } from "@/lib/mask";
import styles from "./MaskCanvas.module.css";
import { type Source, cut } from "@/lib/pictures";

interface Props {
  source: Source;
  part: Rect;
  size: Size;
  mask: Mask;
  isErasing: boolean;
  /** Across, in pixels of the source. */
  brush: number;
  onDeed: (deed: Deed) => void;
}

const ARROWS: Record<string, Point> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};

/** The picture with the mask over it, and a brush for the hand or for the arrow keys. */
export function MaskCanvas({ source, part, size, mask, isErasing, brush, onDeed }: Props) {
  const picture = useRef<HTMLCanvasElement>(null);
  const cover = useRef<HTMLCanvasElement>(null);
  const points = useRef<Point[]>([]);
  const [at, setAt] = useState<Point | null>(null);

  useEffect(() => {
    if (picture.current) cut(picture.current, source, part, size);
  });
  const stroke = (): Deed => ({ kind: "stroke", isErasing, size: brush, points: [...points.current] });
  useEffect(() => {
    const deeds = points.current.length ? [...mask.done, stroke()] : mask.done;
    if (cover.current) drawHatched(cover.current, deeds, part, size);
  });

  const placeOf = (event: PointerEvent<HTMLDivElement>): Point => {
    const box = event.currentTarget.getBoundingClientRect();
    return {
      x: tenth(part.x + ((event.clientX - box.left) / box.width) * part.width),
      y: tenth(part.y + ((event.clientY - box.top) / box.height) * part.height),
    };
  };
  const down = (event: PointerEvent<HTMLDivElement>): void => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    points.current = [placeOf(event)];
    setAt(placeOf(event));
  };
  const move = (event: PointerEvent<HTMLDivElement>): void => {
    setAt(placeOf(event));
    if (points.current.length) points.current.push(placeOf(event));
  };
  const up = (): void => {
    if (points.current.length) onDeed(stroke());
    points.current = [];
  };
  const press = (event: KeyboardEvent): void => {
    const arrow = ARROWS[event.key];
    const middle = { x: part.x + part.width / 2, y: part.y + part.height / 2 };
    const here = at ?? middle;
    if (arrow) setAt(within(part, { x: here.x + (arrow.x * brush) / 2, y: here.y + (arrow.y * brush) / 2 }));
    else if (event.key === " ") {
      setAt(here);
      onDeed({ kind: "stroke", isErasing, size: brush, points: [here] });
    } else return;
    event.preventDefault();
  };
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- a drawing board, as `application` says
    <div
      className={styles.canvas}
      style={{ aspectRatio: `${size[0]} / ${size[1]}`, "--ratio": size[0] / size[1] } as React.CSSProperties}
      role="application"
      aria-label="The picture. Arrow keys move the brush, Space paints."
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- the brush works from the keyboard
      tabIndex={0}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={up}
      onPointerCancel={up}
      onPointerLeave={() => setAt(null)}
      onKeyDown={press}
    >
      <canvas ref={picture} />
      <canvas ref={cover} />
      {at ? (
        <span
          aria-hidden
          className={styles.brush}
          style={{
            left: `${((at.x - part.x) / part.width) * 100}%`,
            top: `${((at.y - part.y) / part.height) * 100}%`,
            width: `${(brush / part.width) * 100}%`,
          }}
        />
      ) : null}
    </div>
  );
}

const within = (part: Rect, { x, y }: Point): Point => ({
  x: Math.min(part.x + part.width, Math.max(part.x, x)),
  y: Math.min(part.y + part.height, Math.max(part.y, y)),
});

/** Finer than a hand is, and short when it is kept. */
const tenth = (length: number): number => Math.round(length * 10) / 10;

import { type CSSProperties, type KeyboardEvent, type PointerEvent, useEffect, useRef } from "react";

import type { Size } from "@/lib/offer";

import styles from "./CropFrame.module.css";
import { type Focus, cropOf, cropSaid, pulled } from "@/lib/crop";
import { drawHatched } from "@/lib/hatch";
import type { Deed } from "@/lib/mask";
import { type Source, cut } from "@/lib/pictures";

interface Props {
  source: Source;
  size: Size;
  focus: Focus;
  onFocus: (focus: Focus) => void;
  /** Shown over it, hatched. */
  mask?: readonly Deed[];
}

const STEPS: Record<string, Focus> = {
  ArrowLeft: { x: 1, y: 0 },
  ArrowRight: { x: -1, y: 0 },
  ArrowUp: { x: 0, y: 1 },
  ArrowDown: { x: 0, y: -1 },
};

/** The picture as the model will get it; where something is cut off, it can be pulled to what shall stay. */
export function CropFrame({ source, size, focus, onFocus, mask = [] }: Props) {
  const picture = useRef<HTMLCanvasElement>(null);
  const cover = useRef<HTMLCanvasElement>(null);
  const last = useRef<{ x: number; y: number } | null>(null);
  const part = cropOf(source.size, size, focus);
  const isCut = part.width < source.size[0] - 0.5 || part.height < source.size[1] - 0.5;

  useEffect(() => {
    const taken = cropOf(source.size, size, focus);
    if (picture.current) cut(picture.current, source, taken, size);
    if (cover.current) drawHatched(cover.current, mask, taken, size);
  }, [source, size, focus, mask]);

  const pull = (event: PointerEvent<HTMLDivElement>): void => {
    if (!last.current) return;
    const scale = part.width / event.currentTarget.clientWidth;
    const by = { x: (event.clientX - last.current.x) * scale, y: (event.clientY - last.current.y) * scale };
    last.current = { x: event.clientX, y: event.clientY };
    onFocus(pulled(focus, source.size, size, by));
  };
  const press = (event: KeyboardEvent): void => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const far = part.width / 20;
    onFocus(pulled(focus, source.size, size, { x: step.x * far, y: step.y * far }));
  };
  const handling = isCut
    ? {
        role: "application",
        tabIndex: 0,
        "aria-label": "The part that is taken. Arrow keys move it.",
        onPointerDown: (event: PointerEvent<HTMLDivElement>) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          last.current = { x: event.clientX, y: event.clientY };
        },
        onPointerMove: pull,
        onPointerUp: () => (last.current = null),
        onKeyDown: press,
      }
    : {};
  return (
    <figure className={styles.figure}>
      <div
        className={styles.frame}
        data-cut={isCut || undefined}
        style={{ aspectRatio: `${size[0]} / ${size[1]}`, "--ratio": size[0] / size[1] } as CSSProperties}
        {...handling}
      >
        <canvas ref={picture} role="img" aria-label={source.name || "The picture"} />
        <canvas ref={cover} className={styles.cover} aria-hidden />
      </div>
      <figcaption className={`${styles.said} numbers`}>
        {cropSaid(source.size, size)}
        {isCut ? ". Drag to choose the part." : ""}
      </figcaption>
    </figure>
  );
}

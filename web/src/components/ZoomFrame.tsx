import { type PointerEvent, useEffect, useRef } from "react";

import { type Place, type View, WHOLE, moved, transformOf, zoomed } from "@/lib/zoom";

import styles from "./ZoomFrame.module.css";

interface Props {
  picture: { src: string; alt: string; width: number; height: number };
  view: View;
  onView: (change: (view: View) => View) => void;
  /** A flick over the whole picture, to the next (1) or back (-1). */
  onSwipe?: (by: 1 | -1) => void;
  onBroken?: (() => void) | undefined;
}

const FLICK = 0.12; // of the frame's width
const CLOSE = 3;

/** A picture that can be looked at closely: wheel, pinch, drag, double click. The view is the caller's, to be shared. */
export function ZoomFrame({ picture, view, onView, onSwipe, onBroken }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const fingers = useRef(new Map<number, Place>());
  const flick = useRef(0);

  useEffect(() => {
    const box = frame.current;
    // React listens passively to wheels, and a passive listener cannot keep the page from scrolling.
    const roll = (event: WheelEvent): void => {
      event.preventDefault();
      onView((before) => zoomed(before, Math.exp(-event.deltaY * 0.0015), placeOf(event, box)));
    };
    box?.addEventListener("wheel", roll, { passive: false });
    return () => box?.removeEventListener("wheel", roll);
  }, [onView]);

  const down = (event: PointerEvent): void => {
    frame.current?.setPointerCapture(event.pointerId);
    fingers.current.set(event.pointerId, placeOf(event, frame.current));
    flick.current = 0;
  };
  const drag = (event: PointerEvent): void => {
    const before = fingers.current.get(event.pointerId);
    if (!before) return;
    const now = placeOf(event, frame.current);
    const other = [...fingers.current.entries()].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, now);
    const by = { x: now.x - before.x, y: now.y - before.y };
    if (other)
      onView((one) => zoomed(one, apart(now, other) / Math.max(1e-3, apart(before, other)), middle(now, other)));
    else if (view.scale > 1) onView((one) => moved(one, by));
    else flick.current += by.x;
  };
  const up = (event: PointerEvent): void => {
    if (!fingers.current.delete(event.pointerId)) return;
    if (Math.abs(flick.current) > FLICK) onSwipe?.(flick.current < 0 ? 1 : -1);
    flick.current = 0;
  };
  return (
    <div
      ref={frame}
      className={styles.frame}
      data-close={view.scale > 1 || undefined}
      onPointerDown={down}
      onPointerMove={drag}
      onPointerUp={up}
      onPointerCancel={up}
      onDoubleClick={(event) => {
        const place = placeOf(event, frame.current);
        onView((before) => (before.scale > 1 ? WHOLE : zoomed(before, CLOSE, place)));
      }}
    >
      <img
        src={picture.src}
        alt={picture.alt}
        width={picture.width}
        height={picture.height}
        draggable={false}
        style={{ transform: transformOf(view) }}
        onError={onBroken}
      />
    </div>
  );
}

function placeOf(event: { clientX: number; clientY: number }, box: HTMLElement | null): Place {
  const { left, top, width, height } = box?.getBoundingClientRect() ?? new DOMRect(0, 0, 1, 1);
  return { x: (event.clientX - left) / width - 0.5, y: (event.clientY - top) / height - 0.5 };
}

const apart = (one: Place, other: Place): number => Math.hypot(one.x - other.x, one.y - other.y);

const middle = (one: Place, other: Place): Place => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });

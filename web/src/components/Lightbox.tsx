import { ChevronLeft, ChevronRight, Maximize, X, ZoomIn, ZoomOut } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import { type KeyboardEvent, type ReactNode, useState } from "react";

import { WHOLE, zoomed } from "@/lib/zoom";

import { Button } from "./Button";
import { FullPage, FullPageTitle } from "./FullPage";
import styles from "./Lightbox.module.css";
import { Player, isPlayed } from "./Player";
import { ZoomFrame } from "./ZoomFrame";

export interface Shown {
  id: string;
  src: string;
  type?: string;
  alt: string;
  width: number;
  height: number;
}

interface Props {
  items: readonly Shown[];
  /** Which one is open. */
  at: number;
  onMove: (at: number) => void;
  onClose: () => void;
  /** What can be done with it, beside the way out. */
  actions?: ReactNode;
  /** What is said beneath it. */
  caption?: ReactNode;
  /** What stands beside it, on phones below. */
  aside?: ReactNode;
  /** A picture could not be fetched: its address may have run out. */
  onBroken?: (shown: Shown) => void;
  /** Keys of the room's own; true where it took the key. */
  onKey?: (event: KeyboardEvent) => boolean;
}

/** One picture at a time over the whole page: arrows walk, + and - zoom, 0 shows all of it, Escape closes. */
export function Lightbox({ items, at, onMove, onClose, actions, caption, aside, onBroken, onKey }: Props) {
  const [view, setView] = useState(WHOLE);
  const shown = items[at];
  const move = (by: number): void => {
    const to = at + by;
    if (to < 0 || to >= items.length) return;
    setView(WHOLE);
    onMove(to);
  };
  const keys: Record<string, () => void> = {
    ArrowLeft: () => move(-1),
    ArrowRight: () => move(1),
    k: () => move(-1),
    j: () => move(1),
    "+": () => setView((before) => zoomed(before, 1.5)),
    "=": () => setView((before) => zoomed(before, 1.5)),
    "-": () => setView((before) => zoomed(before, 1 / 1.5)),
    "0": () => setView(WHOLE),
  };
  const press = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!event.currentTarget.contains(event.target as Node)) return; // a menu's own: React lets it through its portal
    const act = keys[event.key];
    if (act) act();
    if (act || onKey?.(event)) event.preventDefault();
  };
  if (!shown) return null;
  return (
    <FullPage className={aside ? styles.wide : undefined} onKey={press} onClose={onClose}>
      <header className={styles.head}>
        <FullPageTitle>{shown.alt}</FullPageTitle>
        <span className={`${styles.count} numbers`}>
          {at + 1} of {items.length}
        </span>
        <Button look="ghost" aria-label="Further" icon={<ZoomOut />} onClick={keys["-"]} />
        <Button look="ghost" aria-label="Closer" icon={<ZoomIn />} onClick={keys["+"]} />
        <Button look="ghost" aria-label="All of it" icon={<Maximize />} onClick={keys["0"]} />
        <Radix.Close asChild>
          <Button look="ghost" aria-label="Close" icon={<X />} />
        </Radix.Close>
      </header>
      <div className={styles.stage}>
        <Button
          look="plain"
          className={styles.before}
          aria-label="The one before"
          disabled={at === 0}
          icon={<ChevronLeft />}
          onClick={() => move(-1)}
        />
        {isPlayed(shown.type) ? (
          <Player src={shown.src} alt={shown.alt} type={shown.type ?? ""} onBroken={() => onBroken?.(shown)} />
        ) : (
          <ZoomFrame picture={shown} view={view} onView={setView} onSwipe={move} onBroken={() => onBroken?.(shown)} />
        )}
        <Button
          look="plain"
          className={styles.after}
          aria-label="The one after"
          disabled={at === items.length - 1}
          icon={<ChevronRight />}
          onClick={() => move(1)}
        />
      </div>
      {aside ? <aside className={styles.aside}>{aside}</aside> : null}
      <footer className={styles.foot}>
        <div className={styles.caption}>{caption}</div>
        <div className={styles.actions}>{actions}</div>
      </footer>
    </FullPage>
  );
}

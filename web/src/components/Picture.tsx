import { AudioLines, ImageOff } from "lucide-react";
import { useState } from "react";

import styles from "./Picture.module.css";
import { isHeard, isPlayed } from "./Player";

interface Props {
  src: string | undefined;
  alt: string;
  width: number | null | undefined;
  height: number | null | undefined;
  /** Its content type, where it may be a video. */
  type?: string | undefined;
  isSoft?: boolean;
  isLazy?: boolean;
  /** Of those that are seen first: fetched before others, not when its place on the page is known. */
  isFirst?: boolean;
  /** It could not be fetched: its address may have run out. */
  onBroken?: (() => void) | undefined;
}

/** A picture, a silent video or the sign for a sound, in a frame of its own shape from the start, so that nothing moves when it arrives. */
export function Picture({
  src,
  alt,
  width,
  height,
  type,
  isSoft = false,
  isLazy = true,
  isFirst = false,
  onBroken,
}: Props) {
  const [broken, setBroken] = useState<string | null>(null);
  const breaks = (): void => {
    setBroken(src ?? null);
    onBroken?.();
  };
  const ratio = width && height ? `${width} / ${height}` : "1 / 1";
  return (
    <div className={styles.frame} style={{ aspectRatio: ratio }}>
      {src && isHeard(type) ? (
        <span className={styles.sign} role="img" aria-label={alt}>
          <AudioLines />
        </span>
      ) : src && broken !== src && isPlayed(type) ? (
        <video src={src} aria-label={alt} autoPlay loop muted playsInline onError={breaks} />
      ) : src && broken !== src ? (
        <img
          src={src}
          alt={alt}
          width={width ?? undefined}
          height={height ?? undefined}
          loading={isLazy && !isFirst ? "lazy" : "eager"}
          fetchPriority={isFirst ? "high" : "auto"}
          decoding="async"
          className={isSoft ? styles.soft : undefined}
          onError={breaks}
        />
      ) : broken ? (
        <span className={styles.sign} role="img" aria-label={`${alt}: the picture cannot be fetched`}>
          <ImageOff />
        </span>
      ) : null}
    </div>
  );
}

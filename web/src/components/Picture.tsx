import { ImageOff } from "lucide-react";
import { useState } from "react";

import styles from "./Picture.module.css";

interface Props {
  src: string | undefined;
  alt: string;
  width: number | null | undefined;
  height: number | null | undefined;
  isSoft?: boolean;
  isLazy?: boolean;
  /** Of those that are seen first: fetched before others, not when its place on the page is known. */
  isFirst?: boolean;
  /** It could not be fetched: its address may have run out. */
  onBroken?: (() => void) | undefined;
}

/** A picture in a frame of its own shape from the start, so that nothing moves when it arrives. */
export function Picture({ src, alt, width, height, isSoft = false, isLazy = true, isFirst = false, onBroken }: Props) {
  const [broken, setBroken] = useState<string | null>(null);
  const ratio = width && height ? `${width} / ${height}` : "1 / 1";
  return (
    <div className={styles.frame} style={{ aspectRatio: ratio }}>
      {src && broken !== src ? (
        <img
          src={src}
          alt={alt}
          width={width ?? undefined}
          height={height ?? undefined}
          loading={isLazy && !isFirst ? "lazy" : "eager"}
          fetchPriority={isFirst ? "high" : "auto"}
          decoding="async"
          className={isSoft ? styles.soft : undefined}
          onError={() => {
            setBroken(src);
            onBroken?.();
          }}
        />
      ) : broken ? (
        <span className={styles.broken} role="img" aria-label={`${alt}: the picture cannot be fetched`}>
          <ImageOff />
        </span>
      ) : null}
    </div>
  );
}

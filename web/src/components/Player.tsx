import styles from "./Player.module.css";

interface Props {
  src: string;
  alt: string;
  /** The content type of what is played. */
  type: string;
  onBroken?: (() => void) | undefined;
}

/** Whether it is played rather than looked at. */
export const isPlayed = (type: string | undefined): boolean => type?.startsWith("video/") ?? false;

/** A video over the whole frame that it is given, with the browser's own controls. */
export function Player({ src, alt, type, onBroken }: Props) {
  return (
    <div className={styles.frame} data-type={type}>
      <video src={src} aria-label={alt} controls autoPlay loop muted playsInline onError={onBroken} />
    </div>
  );
}

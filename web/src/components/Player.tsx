import styles from "./Player.module.css";

interface Props {
  src: string;
  alt: string;
  /** The content type of what is played. */
  type: string;
  onBroken?: (() => void) | undefined;
}

/** Whether it is heard and not seen. */
export const isHeard = (type: string | undefined): boolean => type?.startsWith("audio/") ?? false;

/** Whether it is played rather than looked at. */
export const isPlayed = (type: string | undefined): boolean => (type?.startsWith("video/") ?? false) || isHeard(type);

/** A video or a sound over the whole frame that it is given, with the browser's own controls. */
export function Player({ src, alt, type, onBroken }: Props) {
  return (
    <div className={styles.frame} data-type={type}>
      {isHeard(type) ? (
        // What a model makes has no words that could be written beneath it.
        // eslint-disable-next-line jsx-a11y/media-has-caption
        <audio src={src} aria-label={alt} controls onError={onBroken} />
      ) : (
        <video src={src} aria-label={alt} controls autoPlay loop muted playsInline onError={onBroken} />
      )}
    </div>
  );
}

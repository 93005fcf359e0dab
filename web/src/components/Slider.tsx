import { Slider as Radix } from "radix-ui";
import { useState } from "react";

import { Input } from "./inputs";
import styles from "./Slider.module.css";

interface Props {
  id?: string;
  label: string;
  value: number;
  min: number;
  max: number;
  step: number;
  /** Where the track begins and ends; the number may go on to `min` and `max`. */
  trackMin?: number;
  trackMax?: number;
  describedBy?: string | undefined;
  onChange: (value: number) => void;
}

/** A track for the hand and a number for the exact. */
export function Slider({ id, label, value, min, max, step, describedBy, onChange, ...track }: Props) {
  const { trackMin = min, trackMax = max } = track;
  // While a number is being written it may be empty or out of bounds; it is taken as soon as it is right.
  const [written, setWritten] = useState<string | null>(null);
  const write = (text: string): void => {
    setWritten(text);
    const said = Number(text);
    if (text.trim() !== "" && said >= min && said <= max) onChange(said);
  };
  const leave = (): void => {
    const said = Number(written ?? "");
    if (written?.trim() && Number.isFinite(said)) onChange(Math.min(max, Math.max(min, said)));
    setWritten(null);
  };
  return (
    <div className={styles.slider}>
      <Radix.Root
        className={styles.root}
        value={[Math.min(trackMax, Math.max(trackMin, value))]}
        min={trackMin}
        max={trackMax}
        step={step}
        onValueChange={([said]) => said !== undefined && onChange(said)}
      >
        <Radix.Track className={styles.track}>
          <Radix.Range className={styles.range} />
        </Radix.Track>
        <Radix.Thumb className={styles.thumb} aria-label={label} />
      </Radix.Root>
      <Input
        id={id}
        type="number"
        className={styles.number}
        value={written ?? value}
        min={min}
        max={max}
        step={step}
        aria-label={id ? undefined : `${label}, as a number`}
        aria-describedby={describedBy}
        onChange={(event) => write(event.target.value)}
        onBlur={leave}
      />
    </div>
  );
}

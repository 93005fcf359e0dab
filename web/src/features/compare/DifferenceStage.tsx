import { useDeferredValue, useState } from "react";

import { Fault, Waiting } from "@/components/Notice";
import { ZoomFrame } from "@/components/ZoomFrame";
import type { View } from "@/lib/zoom";

import styles from "./DifferenceStage.module.css";
import { differenceText } from "./difference";
import { type Plan, cellText } from "./grid";
import { useDifference } from "./pixels";
import type { Spot } from "./standing";

interface Props {
  plan: Plan;
  first: Spot;
  second: Spot;
  view: View;
  onView: (change: (view: View) => View) => void;
}

const MOST_GAIN = 32;

/** What differs between two cells: bright where much does, and in numbers. */
export function DifferenceStage({ plan, first, second, view, onView }: Props) {
  const [gain, setGain] = useState(4);
  const [one, other] = [first.job?.outputs[0], second.job?.outputs[0]];
  const { compared, error } = useDifference(one, other, useDeferredValue(gain));
  const names = `${cellText(plan, first.cell)} and ${cellText(plan, second.cell)}`;
  const isScaled = one && other && (one.width !== other.width || one.height !== other.height);
  if (!one || !other) return <p className={styles.none}>A difference takes two finished pictures.</p>;
  return (
    <div className={styles.difference}>
      <div className={styles.picture}>
        {compared ? (
          <ZoomFrame picture={{ ...compared, alt: `Difference of ${names}` }} view={view} onView={onView} />
        ) : error ? (
          <Fault error={error} />
        ) : (
          <Waiting label="Comparing" height="100%" />
        )}
      </div>
      <div className={styles.words}>
        <p>
          <strong>{names}</strong>
          <br />
          <span role="status" className="numbers">
            {compared ? `${differenceText(compared)}.` : "\u00a0"}
            {isScaled ? " The second was scaled to the size of the first." : ""}
          </span>
        </p>
        <label className={styles.gain}>
          Gain
          <input
            type="range"
            min={1}
            max={MOST_GAIN}
            value={gain}
            onChange={(event) => setGain(event.target.valueAsNumber)}
          />
          <span className="numbers">× {gain}</span>
        </label>
      </div>
    </div>
  );
}

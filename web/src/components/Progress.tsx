import { Progress as Radix } from "radix-ui";

import styles from "./Progress.module.css";

/** How much is done, 0 to 1; null while nobody knows. */
export function Progress({ value, label }: { value: number | null; label: string }) {
  const percent = value === null ? null : Math.round(value * 100);
  return (
    <Radix.Root className={styles.root} value={percent} aria-label={label}>
      <Radix.Indicator
        className={percent === null ? styles.unknown : styles.bar}
        style={percent === null ? undefined : { transform: `translateX(${percent - 100}%)` }}
      />
    </Radix.Root>
  );
}

import styles from "./Table.module.css";

/** A share of something, 0 to 1, as a thin bar. */
export function Meter({ value, label }: { value: number; label: string }) {
  const percent = Math.round(Math.min(1, Math.max(0, value)) * 100);
  return (
    <span
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      className={styles.meter}
    >
      <span style={{ width: `${percent}%` }} />
    </span>
  );
}

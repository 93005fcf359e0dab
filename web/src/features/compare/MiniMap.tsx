import styles from "./MiniMap.module.css";
import { type Plan, cellText, columnsOf } from "./grid";
import type { Spot } from "./standing";

interface Props {
  plan: Plan;
  spots: readonly Spot[];
  /** Those under the glass, in order. */
  cells: readonly number[];
  onPick: (at: number) => void;
}

/** The grid in small: which cells are under the glass, and a way to others. */
export function MiniMap({ plan, spots, cells, onPick }: Props) {
  return (
    <div
      className={styles.map}
      role="group"
      aria-label="Cells"
      style={{ gridTemplateColumns: `repeat(${columnsOf(plan)}, auto)` }}
    >
      {spots.map((spot, at) => (
        <button
          key={spot.cell.key}
          type="button"
          className={styles.spot}
          aria-pressed={cells.includes(at)}
          aria-label={cellText(plan, spot.cell)}
          title={cellText(plan, spot.cell)}
          disabled={spot.status !== "done"}
          data-active={cells.at(-1) === at || undefined}
          onClick={() => onPick(at)}
        >
          {spot.job?.outputs[0] ? <img src={spot.job.outputs[0].url} alt="" /> : null}
        </button>
      ))}
    </div>
  );
}

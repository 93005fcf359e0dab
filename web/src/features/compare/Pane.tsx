import { ZoomFrame } from "@/components/ZoomFrame";
import { keys, queryClient } from "@/lib/api/queries";
import type { View } from "@/lib/zoom";

import styles from "./Pane.module.css";
import { type Plan, cellText } from "./grid";
import { pictureSize } from "./drawing";
import type { Spot } from "./standing";

interface Props {
  plan: Plan;
  spot: Spot;
  view: View;
  onView: (change: (view: View) => View) => void;
  isNamed?: boolean;
}

/** One cell's picture under the glass. */
export function Pane({ plan, spot, view, onView, isNamed = false }: Props) {
  const name = cellText(plan, spot.cell);
  const output = spot.job?.outputs[0];
  const again = (): void => {
    if (spot.id) void queryClient.invalidateQueries({ queryKey: keys.job(spot.id) });
  };
  return (
    <figure className={styles.pane}>
      {spot.job && output ? (
        <ZoomFrame
          picture={{ src: output.url, alt: name, ...pictureSize(spot.job) }}
          view={view}
          onView={onView}
          onBroken={again}
        />
      ) : (
        <p className={styles.none}>There is no picture here yet.</p>
      )}
      {isNamed ? <figcaption className={styles.name}>{name}</figcaption> : null}
    </figure>
  );
}

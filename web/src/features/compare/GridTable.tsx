import { type KeyboardEvent, useRef, useState } from "react";

import { pictureSize } from "./drawing";
import { GridCell } from "./GridCell";
import styles from "./GridTable.module.css";
import { type Axis, type Plan, cellText, columnsOf, sizeOf, slotsOf, titleOf, valueText } from "./grid";
import { stepped } from "./moving";
import type { Spot } from "./standing";

interface Props {
  plan: Plan;
  spots: readonly Spot[];
  chosen: ReadonlySet<number>;
  usualSize: readonly [number, number];
  onOpen: (at: number) => void;
  onChoose: (at: number) => void;
}

/** The grid: arrows walk, Enter looks closer, Space chooses. Its heads stay in sight. */
export function GridTable({ plan, spots, chosen, usualSize, onOpen, onChoose }: Props) {
  const [wanted, setReached] = useState(0);
  const table = useRef<HTMLTableElement>(null);
  const columns = columnsOf(plan);
  const reached = Math.min(wanted, spots.length - 1);
  const go = (to: number): void => {
    setReached(to);
    const cell = table.current?.querySelector<HTMLElement>(`[data-at="${to}"]`);
    cell?.focus({ preventScroll: true });
    cell?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const press = (event: KeyboardEvent): void => {
    const at = Number((event.target as HTMLElement).dataset.at ?? NaN);
    if (Number.isNaN(at) || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = stepped(at, event.key, columns, spots.length);
    const isChoosing = event.key === " " || event.key === "x";
    if (to === null && !isChoosing) return;
    event.preventDefault();
    if (isChoosing) onChoose(at);
    else if (to !== null) go(to);
  };
  // Space presses a button when it is let go.
  const stay = (event: KeyboardEvent): void => {
    if (event.key === " " && "at" in (event.target as HTMLElement).dataset) event.preventDefault();
  };
  const rows = slotsOf(plan.down);
  const frames = spots.map((spot) => frameOfSpot(spot, usualSize));
  const fit = { "--columns": columns, "--rows": rows.length, "--tallest": tallest(frames) };
  return (
    <div className={styles.frame} style={fit as React.CSSProperties}>
      <div className={styles.scroll}>
        <table ref={table} role="grid" className={styles.table} aria-label="Grid" onKeyDown={press} onKeyUp={stay}>
          <Heads plan={plan} />
          <tbody>
            {rows.map((value, y) => (
              <tr key={y}>
                {plan.down ? <Head axis={plan.down} value={value} scope="row" /> : null}
                {Array.from({ length: columns }, (_, x) => {
                  const at = y * columns + x;
                  const spot = spots[at];
                  return spot ? (
                    <td key={x} className={styles.spot} onFocus={() => setReached(at)}>
                      <GridCell
                        spot={spot}
                        name={cellText(plan, spot.cell)}
                        frame={frames[at] ?? frameOfSpot(spot, usualSize)}
                        at={at}
                        isReached={at === reached}
                        isChosen={chosen.has(at)}
                        onOpen={onOpen}
                        onChoose={onChoose}
                      />
                    </td>
                  ) : null;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** What each column is; of an axis alone its name stands over the values. */
function Heads({ plan }: { plan: Plan }) {
  const { across, down } = plan;
  if (!across && !down) return null;
  return (
    <thead>
      {down ? null : (
        <tr>
          <td className={styles.title} colSpan={columnsOf(plan)}>
            <Corner plan={plan} />
          </td>
        </tr>
      )}
      <tr>
        {down ? (
          <td className={styles.corner}>
            <Corner plan={plan} />
          </td>
        ) : null}
        {across ? slotsOf(across).map((value, x) => <Head key={x} axis={across} value={value} scope="col" />) : null}
      </tr>
    </thead>
  );
}

function Corner({ plan }: { plan: Plan }) {
  return (
    <span className={styles.corners}>
      {plan.across ? <span>{titleOf(plan.across)} →</span> : null}
      {plan.down ? <span>{titleOf(plan.down)} ↓</span> : null}
    </span>
  );
}

function Head({ axis, value, scope }: { axis: Axis | null; value: string | number | undefined; scope: "col" | "row" }) {
  const text = axis && value !== undefined ? valueText(axis.kind, value) : "";
  return (
    <th scope={scope} className={scope === "col" ? styles.column : styles.row} title={text}>
      <span>{text}</span>
    </th>
  );
}

/** Height by width of the frame that is the tallest for its width. */
function tallest(frames: readonly { width: number; height: number }[]): number {
  return Math.max(0.1, ...frames.map(({ width, height }) => height / width));
}

/** Known before the picture is, so that nothing moves when it comes. */
function frameOfSpot({ job, cell }: Spot, usual: readonly [number, number]): { width: number; height: number } {
  if (job) return pictureSize(job);
  const [width, height] = sizeOf(cell.settings.size) ?? usual;
  return { width, height };
}

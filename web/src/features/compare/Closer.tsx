import { ArrowLeftRight, Maximize, X, ZoomIn, ZoomOut } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import { type KeyboardEvent, useCallback, useRef, useState } from "react";

import { Button } from "@/components/Button";
import { FullPage, FullPageTitle } from "@/components/FullPage";
import { JobActions, type JobDeeds } from "@/components/JobActions";
import { Segmented } from "@/components/Segmented";
import { deviceSeconds, dollars } from "@/lib/format";
import { type View, WHOLE, zoomed } from "@/lib/zoom";

import styles from "./Closer.module.css";
import { DifferenceStage } from "./DifferenceStage";
import { type Plan, cellText, columnsOf } from "./grid";
import { MiniMap } from "./MiniMap";
import { stepped } from "./moving";
import { Pane } from "./Pane";
import { type Mode, type Panes, swapped, withActive, withMode, withToggled } from "./panes";
import type { Spot } from "./standing";
import { Wipe } from "./Wipe";

interface Props {
  plan: Plan;
  spots: readonly Spot[];
  begin: Panes;
  deeds: JobDeeds;
  onClose: () => void;
}

const MODES: readonly { value: Mode; label: string; title: string }[] = [
  { value: "one", label: "One", title: "One by itself (1)" },
  { value: "side", label: "Side by side", title: "Several beside each other (S)" },
  { value: "wipe", label: "Wipe", title: "One over the other (W)" },
  { value: "difference", label: "Difference", title: "What differs (D)" },
];
const MODE_KEYS: Readonly<Record<string, Mode>> = { "1": "one", s: "side", w: "wipe", d: "difference" };

/** Cells over the whole page, all moved and enlarged as one. */
export function Closer({ plan, spots, begin, deeds, onClose }: Props) {
  const [panes, setPanes] = useState(begin);
  const [view, setView] = useState(WHOLE);
  const columns = columnsOf(plan);
  const isDone = spots.map(({ status }) => status === "done");
  const cells = panes.cells.filter((cell) => cell < spots.length);
  const active = cells.at(-1) ?? 0;
  const spot = spots[active];
  const look = useCallback((change: (view: View) => View) => setView(change), []);
  const content = useRef<HTMLDivElement>(null);
  const choose = (mode: Mode): void => {
    setPanes((before) => withMode(before, mode, columns, isDone));
    content.current?.focus(); // so that the arrows walk through the grid again
  };
  const zoom = (factor: number) => () => setView((before) => zoomed(before, factor));
  const press = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey || isElsewhere(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const to = stepped(active, key, columns, spots.length);
    const mode = MODE_KEYS[key];
    const other: Readonly<Record<string, () => void>> = {
      "+": zoom(1.5),
      "=": zoom(1.5),
      "-": zoom(1 / 1.5),
      "0": () => setView(WHOLE),
      x: () => setPanes(swapped),
    };
    if (to !== null) setPanes((before) => withActive(before, to));
    else if (mode) choose(mode === panes.mode ? "one" : mode);
    else if (other[key]) other[key]();
    else return;
    event.preventDefault();
  };
  if (!spot) return null;
  const [first, second] = [spots[cells[0] ?? 0], spots[active]];
  return (
    <FullPage ref={content} onKey={press} onClose={onClose}>
      <header className={styles.head}>
        <FullPageTitle>{cellText(plan, spot.cell)}</FullPageTitle>
        <div className={styles.modes}>
          <Segmented label="View" value={panes.mode} options={MODES} onChange={choose} />
        </div>
        <div className={styles.tools}>
          <Button look="ghost" aria-label="Further" icon={<ZoomOut />} onClick={zoom(1 / 1.5)} />
          <Button look="ghost" aria-label="Closer" icon={<ZoomIn />} onClick={zoom(1.5)} />
          <Button look="ghost" aria-label="All of it" icon={<Maximize />} onClick={() => setView(WHOLE)} />
          <Radix.Close asChild>
            <Button look="ghost" aria-label="Close" icon={<X />} />
          </Radix.Close>
        </div>
      </header>
      <div className={styles.stage} data-count={panes.mode === "side" ? Math.min(cells.length, 9) : 1}>
        {panes.mode === "one" ? <Pane plan={plan} spot={spot} view={view} onView={look} /> : null}
        {panes.mode === "side"
          ? cells.map((cell) => {
              const one = spots[cell];
              return one ? <Pane key={one.cell.key} plan={plan} spot={one} view={view} onView={look} isNamed /> : null;
            })
          : null}
        {panes.mode === "wipe" && first && second ? (
          <Wipe plan={plan} first={first} second={second} view={view} onView={look} />
        ) : null}
        {panes.mode === "difference" && first && second ? (
          <DifferenceStage plan={plan} first={first} second={second} view={view} onView={look} />
        ) : null}
      </div>
      <footer className={styles.foot}>
        <MiniMap
          plan={plan}
          spots={spots}
          cells={panes.mode === "one" ? [active] : cells}
          onPick={(at) => setPanes((before) => withToggled(before, at))}
        />
        <div className={styles.end}>
          {panes.mode === "one" ? (
            <>
              <p className={`${styles.caption} numbers`}>{captionOf(spot)}</p>
              <div className={styles.actions}>
                {spot.job && spot.status === "done" ? <JobActions job={spot.job} deeds={deeds} /> : null}
              </div>
            </>
          ) : cells.length > 1 ? (
            <Button icon={<ArrowLeftRight />} onClick={() => setPanes(swapped)}>
              Swap
            </Button>
          ) : null}
        </div>
      </footer>
    </FullPage>
  );
}

/** In a menu or sheet over this one, or an arrow for a control that has a use for it. */
function isElsewhere({ key, target, currentTarget }: KeyboardEvent): boolean {
  if (!(target instanceof Element) || !currentTarget.contains(target)) return true;
  return /^(?:Arrow|Home|End)/.test(key) && target.closest("input, [role=radio]") !== null;
}

function captionOf({ job }: Spot): string {
  if (!job) return "";
  const { device_s, cost_usd } = job.metrics;
  const output = job.outputs[0];
  return [
    output && `${output.width} × ${output.height}`,
    output && `seed ${output.seed}`,
    device_s !== null && deviceSeconds(device_s),
    cost_usd ? dollars(cost_usd) : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

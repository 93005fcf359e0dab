import { LayoutGrid, SlidersHorizontal } from "lucide-react";
import { useCallback, useEffect, useMemo, useState } from "react";
import { useNavigate } from "react-router";

import { Button } from "@/components/Button";
import type { JobDeeds } from "@/components/JobActions";
import { KeysSheet } from "@/components/KeysSheet";
import { Empty, Fault, Waiting } from "@/components/Notice";
import { handOver } from "@/lib/handover";
import { useShortcuts } from "@/lib/shortcuts";

import { ChosenBar } from "./ChosenBar";
import { Closer } from "./Closer";
import styles from "./CompareRoom.module.css";
import { restorePictures, useDesk } from "./desk";
import { columnsOf } from "./grid";
import { GridTable } from "./GridTable";
import { useAddress, useLinked } from "./linked";
import { type Mode, type Panes, panesOf, withMode } from "./panes";
import { PlanForm } from "./PlanForm";
import { RoomHead } from "./RoomHead";
import { lackOf, useEstimate, useOffer } from "./room";
import { RunBar } from "./RunBar";
import { make } from "./running";
import { type Spot, tallyOf, useSpots } from "./standing";

const KEYS = [
  ["Arrows", "walk through the grid"],
  ["Enter", "look at a cell closely"],
  ["Space", "choose a cell"],
  ["D", "difference of two cells"],
  ["S, W", "side by side, wipe"],
  ["+ −", "closer, further"],
  ["0", "all of it"],
  ["X", "swap the two"],
  ["Ctrl Enter", "make the grid"],
  ["Esc", "back to the grid"],
] as const;

/** The room where one thing is varied against another, and the pictures laid side by side. */
export function CompareRoom() {
  useAddress();
  const { plan, given } = useDesk();
  useEffect(() => void restorePictures(), []);
  const { offer, models, problem, retry } = useOffer();
  const { isReading, isWrong } = useLinked();
  const spots = useSpots();
  const tally = tallyOf(spots);
  const fresh = tally.fresh.length;
  const estimate = useEstimate(tally.fresh);
  const lack = lackOf(plan, offer, given);
  const [isHelping, setIsHelping] = useState(false);
  const [isFormShown, setIsFormShown] = useState(false); // once there are pictures, where there is little room
  const isMade = fresh < tally.all;
  const { chosen, choose, unchoose, closer, look, leave } = useLooking(spots, columnsOf(plan));
  const deeds = useDeeds();
  useShortcuts({
    "?": () => setIsHelping(true),
    d: () => look("difference"),
    s: () => look("side"),
    w: () => look("wipe"),
  });
  return (
    <div
      className={styles.room}
      onKeyDown={(event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !lack && fresh) void make(tally.fresh);
      }}
      role="presentation"
    >
      <RoomHead spots={spots} onHelp={() => setIsHelping(true)} />
      <div className={styles.form} data-hidden={(isMade && !isFormShown) || undefined}>
        {offer ? (
          <PlanForm offer={offer} models={models} />
        ) : problem ? (
          <Fault error={problem} onRetry={retry} />
        ) : (
          <Waiting label="Asking which models there are" height="24rem" />
        )}
      </div>
      <section className={styles.grid} aria-label="The grid" data-chosen={chosen.size > 0 || undefined}>
        {isWrong ? (
          <p className={styles.wrong} role="alert">
            The address holds no grid: part of it may be missing. Here is a fresh one.
          </p>
        ) : null}
        {isReading ? (
          <Waiting label="Opening the grid" height="24rem" />
        ) : (
          <>
            <div className={styles.run}>
              {isMade ? (
                <Button
                  className={styles.toggle}
                  size="small"
                  icon={<SlidersHorizontal />}
                  aria-expanded={isFormShown}
                  onClick={() => setIsFormShown(!isFormShown)}
                >
                  Settings
                </Button>
              ) : null}
              <RunBar plan={plan} tally={tally} estimate={estimate} lack={lack} />
            </div>
            {spots.length ? (
              <GridTable
                plan={plan}
                spots={spots}
                chosen={chosen}
                usualSize={offer?.defaultSize ?? [1, 1]}
                onOpen={closer.open}
                onChoose={choose}
              />
            ) : (
              <Empty icon={<LayoutGrid />} title="Nothing to lay out yet">
                Say what goes across and what goes down, and give each some values. Every pair becomes a picture.
              </Empty>
            )}
          </>
        )}
      </section>
      {chosen.size ? <ChosenBar count={chosen.size} onLook={look} onClear={unchoose} /> : null}
      {closer.panes ? <Closer plan={plan} spots={spots} begin={closer.panes} deeds={deeds} onClose={leave} /> : null}
      <KeysSheet keys={KEYS} isOpen={isHelping} onClose={() => setIsHelping(false)} />
    </div>
  );
}

/** Which cells are chosen, and which lie under the glass. */
function useLooking(spots: readonly Spot[], columns: number) {
  const [keys, setKeys] = useState<readonly string[]>([]);
  const [panes, setPanes] = useState<Panes | null>(null);
  const positions = keys.map((key) => spots.findIndex(({ cell }) => cell.key === key)).filter((at) => at >= 0);
  const open = useCallback((at: number) => setPanes(panesOf([at])), []);
  const choose = (at: number): void => {
    const spot = spots[at];
    if (spot?.status !== "done") return;
    const { key } = spot.cell;
    setKeys((before) => (before.includes(key) ? before.filter((one) => one !== key) : [...before, key]));
  };
  const look = (mode: Mode): void => {
    const focused = Number((document.activeElement as HTMLElement | null)?.dataset.at ?? NaN);
    const isDone = spots.map(({ status }) => status === "done");
    const begin = positions.length ? positions : Number.isNaN(focused) ? [] : [focused];
    if (begin.length) setPanes(withMode(panesOf(begin, "one"), mode, columns, isDone));
  };
  return {
    chosen: new Set(positions),
    choose,
    unchoose: () => setKeys([]),
    closer: { panes, open },
    look,
    leave: () => setPanes(null),
  };
}

function useDeeds(): JobDeeds {
  const navigate = useNavigate();
  return useMemo(
    () => ({
      onUse: (job, output) => {
        handOver({ kind: "picture", job, output });
        void navigate("/");
      },
      onSettings: (job, output) => {
        handOver({ kind: "settings", job, output });
        void navigate("/");
      },
    }),
    [navigate],
  );
}

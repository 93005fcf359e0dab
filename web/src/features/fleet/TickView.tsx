import { Pause, Play } from "lucide-react";
import { useState } from "react";

import { Button } from "@/components/Button";
import { Empty } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";
import { share } from "@/lib/format";

import { JobName, Swatch } from "./JobName";
import { LaneStrip } from "./LaneStrip";
import { TickTable } from "./TickTable";
import styles from "./TickView.module.css";
import { type Heard, factsOf, isGone, saidOfStanding, shortName, standingOf } from "./heard";
import { useLook } from "./look";
import type { Cursor } from "./painting";
import type { Mode } from "./strip";
import { type Lane, emptyLane, jobsIn, sayingOf } from "./ticks";
import { colours, order, useWatch } from "./watch";

const MOST_NAMED = 11;
const MODES = [
  { value: "time", label: "By time", title: "A column is as wide as its batch took" },
  { value: "count", label: "Equal", title: "All columns are equally wide" },
] as const;

interface Held {
  lanes: Readonly<Record<string, Lane>>;
  at_s: number;
}

/** Each column one batch, each colour one job: one sees requests join and leave at the step. */
export function TickView() {
  const { heard, lanes, perSecond, now_s } = useWatch();
  const [mode, setMode] = useState<Mode>("time");
  const [held, setHeld] = useState<Held | null>(null);
  const [marked, setMarked] = useState<string | null>(null);
  const [cursor, setCursor] = useState<Cursor | null>(null);
  const look = useLook();
  const shown = held?.lanes ?? lanes;
  const jobs = jobsIn(Object.values(shown), order);
  return (
    <section className={styles.view} aria-labelledby="tick-view">
      <header className={styles.head}>
        <h2 id="tick-view">Batches, live</h2>
        <div className={styles.controls}>
          <Segmented label="Width of columns" value={mode} options={MODES} onChange={setMode} />
          <Button
            size="small"
            aria-pressed={held !== null}
            icon={held ? <Play /> : <Pause />}
            onClick={() => setHeld(held ? null : { lanes, at_s: Date.now() / 1000 })}
          >
            {held ? "Go on" : "Pause"}
          </Button>
        </div>
      </header>
      {heard.length === 0 ? (
        <Empty title="No worker is here">Start one with “darkroom worker”; its batches show here as they run.</Empty>
      ) : null}
      {heard.map((one) => {
        const lane = shown[one.worker.id] ?? emptyLane(one.worker.id);
        const standing = standingOf(one, now_s);
        const hasGone = isGone(standing);
        return (
          <div key={one.worker.id} className={styles.lane} data-gone={hasGone ? standing : undefined}>
            <LaneHead heard={one} lane={lane} now_s={now_s} />
            <LaneStrip
              {...{ lane, mode, perSecond, look, order, colours, marked, cursor, hasGone }}
              pausedAt_s={held?.at_s ?? null}
              label={`Batches of ${one.worker.id}. Arrow keys walk along them, Enter follows a job.`}
              onCursor={setCursor}
              onMark={setMarked}
            />
          </div>
        );
      })}
      <Readout lanes={shown} cursor={cursor} />
      <Legend jobs={jobs} marked={marked} onMark={setMarked} />
      <p className={styles.saying}>
        Each column is one batch that a worker ran, the newest on the right. Each colour is one job, as tall as the rows
        it has in that batch. Watch a colour begin on top of others: that job joined at a step, in the middle of their
        work, and it leaves at its own last step. Nobody waits for a batch to be over.
      </p>
      <TickTable lanes={Object.values(shown)} />
    </section>
  );
}

function LaneHead({ heard, lane, now_s }: { heard: Heard; lane: Lane; now_s: number }) {
  const standing = standingOf(heard, now_s);
  const facts = factsOf(heard.worker);
  const rows = lane.ticks.at(-1)?.rows;
  return (
    <div className={styles.who}>
      <strong title={heard.worker.id}>{shortName(heard.worker.id)}</strong>
      <span className="numbers">
        {saidOfStanding(heard, now_s)}
        {isGone(standing) || facts.busy === null ? "" : ` · ${share(facts.busy)} busy`}
        {rows && standing === "busy" ? ` · ${rows} ${rows === 1 ? "row" : "rows"}` : ""}
      </span>
    </div>
  );
}

function Readout({ lanes, cursor }: { lanes: Held["lanes"]; cursor: Cursor | null }) {
  const tick = cursor ? lanes[cursor.lane]?.ticks.find((one) => one.n === cursor.n) : undefined;
  return (
    <div className={styles.readout}>
      {tick && cursor ? (
        <>
          {cursor.job ? <Swatch job={cursor.job} /> : null}
          {cursor.job ? <JobName id={cursor.job} /> : <span>Nobody’s: a model is tried</span>}
          <span className="numbers">{sayingOf(tick, cursor.job)}</span>
        </>
      ) : (
        <span>Point at a block to see whose it is; click it to follow that job.</span>
      )}
    </div>
  );
}

interface LegendProps {
  jobs: readonly string[];
  marked: string | null;
  onMark: (job: string | null) => void;
}

function Legend({ jobs, marked, onMark }: LegendProps) {
  const named = jobs.slice(0, MOST_NAMED);
  return (
    <div className={styles.legend}>
      <ul aria-label="Jobs in these batches" className={styles.jobs}>
        {named.map((job) => (
          <li key={job}>
            <button
              type="button"
              className={styles.job}
              aria-pressed={job === marked}
              data-faint={(marked !== null && job !== marked) || undefined}
              onClick={() => onMark(job === marked ? null : job)}
            >
              <Swatch job={job} /> <JobName id={job} />
            </button>
          </li>
        ))}
        {jobs.length > named.length ? <li className={styles.more}>and {jobs.length - named.length} more</li> : null}
      </ul>
      <ul aria-label="Kinds of work" className={styles.kinds}>
        <li>
          <i data-kind="encode" /> reading the prompt
        </li>
        <li>
          <i data-kind="denoise" /> denoising
        </li>
        <li>
          <i data-kind="decode" /> developing
        </li>
      </ul>
    </div>
  );
}

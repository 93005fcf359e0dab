import type { ReactNode } from "react";

import { dollars, seconds } from "@/lib/format";

import styles from "./Overview.module.css";
import { countsOf, paidPerHour } from "./heard";
import { type Fleet, imagesPerMinute, rate, saidOfCost, saidOfImages } from "./series";
import { useWatch } from "./watch";

/** How it goes, at a glance. */
export function Overview({ fleet }: { fleet: Fleet }) {
  const { queue, totals } = fleet;
  return (
    <section aria-label="At a glance" className={styles.overview}>
      <Figure name="Waiting" value={String(queue.depth)}>
        {queue.depth ? `the oldest for ${seconds(queue.oldest_s)}` : "nobody waits"}
        {queue.scheduled ? ` · ${queue.scheduled} for later` : ""}
      </Figure>
      <WorkersFigure />
      <Figure name="Images a minute" value={rate(imagesPerMinute(fleet))}>
        {saidOfImages(fleet)}
      </Figure>
      <Figure name="Time to a picture" value={seconds(totals.p50_s)}>
        {totals.p99_s === null ? "nothing has finished" : `half of all; 99 % within ${seconds(totals.p99_s)}`}
      </Figure>
      <CostFigure totals={totals} />
      <ByModel queue={queue} />
    </section>
  );
}

function Figure({ name, value, children }: { name: string; value: string; children: ReactNode }) {
  return (
    <div className={styles.figure}>
      <h3>{name}</h3>
      <p className={`${styles.value} numbers`}>{value}</p>
      <p className={`${styles.note} numbers`}>{children}</p>
    </div>
  );
}

function WorkersFigure() {
  const { heard, now_s } = useWatch();
  const counts = countsOf(heard, now_s);
  const here = counts.busy + counts.ready;
  const rest = (["draining", "starting", "lost"] as const).filter((one) => counts[one] > 0);
  return (
    <Figure name="Workers" value={String(here)}>
      {[`${counts.busy} busy`, `${counts.ready} ready`, ...rest.map((one) => `${counts[one]} ${one}`)].join(" · ")}
    </Figure>
  );
}

/** What is paid for the workers, whatever they do; what of it jobs were charged with stands beside it. */
function CostFigure({ totals }: Pick<Fleet, "totals">) {
  const { heard, now_s } = useWatch();
  const counts = countsOf(heard, now_s);
  const paid = paidPerHour(heard, now_s);
  const there = heard.length - counts.left - counts.lost;
  return (
    <Figure name="Workers cost an hour" value={dollars(paid)}>
      {saidOfCost(paid, there, totals)}
    </Figure>
  );
}

function ByModel({ queue }: Pick<Fleet, "queue">) {
  return (
    <ul aria-label="Queue by model" className={`${styles.models} numbers`}>
      {queue.by_model.length === 0 ? <li>No model has work.</li> : null}
      {queue.by_model.map(({ model, queued, running, oldest_s }) => (
        <li key={model}>
          <strong>{model}</strong> {queued} waiting{oldest_s ? `, the oldest for ${seconds(oldest_s)}` : ""} · {running}{" "}
          running
        </li>
      ))}
    </ul>
  );
}

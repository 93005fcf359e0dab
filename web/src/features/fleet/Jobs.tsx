import { ChevronLeft, ChevronRight } from "lucide-react";
import { useState } from "react";

import { Button } from "@/components/Button";
import { Fault, Waiting } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";

import { JobRow } from "./JobRow";
import styles from "./Table.module.css";
import { PAGE, useJobPage } from "./watch";

const STATES = [
  { value: "running", label: "Running", none: "Nothing runs." },
  { value: "queued", label: "Waiting", none: "Nobody waits." },
  { value: "scheduled", label: "Scheduled", none: "Nothing is planned for later." },
  { value: "succeeded", label: "Finished", none: "Nothing has finished yet." },
] as const;
type Shown = (typeof STATES)[number]["value"];

/** Everybody's jobs, page by page. */
export function Jobs() {
  const [state, setState] = useState<Shown>("running");
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const { data, error, isPending, refetch } = useJobPage(state, cursors.at(-1) ?? null);
  const jobs = (data?.data ?? []).filter((job) => job.state === state);
  const next = data?.next_cursor ?? null;
  const choose = (said: Shown): void => {
    setState(said);
    setCursors([]);
  };
  return (
    <section aria-labelledby="jobs" className={styles.section}>
      <header className={styles.head}>
        <h2 id="jobs">Jobs</h2>
        <Segmented label="Which jobs" value={state} options={STATES} onChange={choose} />
      </header>
      {error ? <Fault error={error} onRetry={() => void refetch()} /> : null}
      {isPending ? <Waiting label="Loading jobs" height="10rem" /> : null}
      {data && jobs.length === 0 ? (
        <p className={styles.quiet}>{STATES.find((one) => one.value === state)?.none}</p>
      ) : null}
      <ul className={styles.rows}>
        {jobs.map((job) => (
          <JobRow key={job.id} job={job} />
        ))}
      </ul>
      {cursors.length > 0 || next ? (
        <nav aria-label="Pages of jobs" className={styles.pages}>
          <span className="numbers">
            {cursors.length * PAGE + 1} to {cursors.length * PAGE + jobs.length}
          </span>
          <Button
            size="small"
            aria-label="Newer jobs"
            icon={<ChevronLeft />}
            disabled={cursors.length === 0}
            onClick={() => setCursors(cursors.slice(0, -1))}
          />
          <Button
            size="small"
            aria-label="Older jobs"
            icon={<ChevronRight />}
            disabled={next === null}
            onClick={() => next && setCursors([...cursors, next])}
          />
        </nav>
      ) : null}
    </section>
  );
}

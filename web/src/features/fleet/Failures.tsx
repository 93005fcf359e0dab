import { useState } from "react";

import { Button } from "@/components/Button";
import { sentenceOf } from "@/lib/api/errors";
import { useJob } from "@/lib/api/queries";
import { ago, moment } from "@/lib/format";

import styles from "./Table.module.css";
import type { Fleet } from "./series";

const FIRST = 6;

/** Jobs that failed, with the text of what went wrong, newest first. */
export function Failures({ failed }: { failed: Fleet["errors"] }) {
  const [isAll, setIsAll] = useState(false);
  return (
    <section aria-labelledby="failures" className={styles.section}>
      <h2 id="failures">Errors</h2>
      {failed.length === 0 ? <p className={styles.quiet}>No job has failed in this time.</p> : null}
      <ul className={styles.rows}>
        {(isAll ? failed : failed.slice(0, FIRST)).map((one) => (
          <FailureRow key={one.job_id} failed={one} />
        ))}
      </ul>
      {failed.length > FIRST && !isAll ? (
        <Button size="small" onClick={() => setIsAll(true)}>
          Show all {failed.length}
        </Button>
      ) : null}
    </section>
  );
}

function FailureRow({ failed }: { failed: Fleet["errors"][number] }) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <li className={styles.failed}>
      <strong>{sentenceOf(failed)}</strong>
      <span>{failed.message}</span>
      <span className={styles.soft}>
        <time dateTime={failed.at} title={moment(failed.at)}>
          {ago(failed.at)}
        </time>{" "}
        · {failed.model} · {failed.tenant}
      </span>
      <details className={styles.soft} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
        <summary>{failed.job_id}</summary>
        {isOpen ? <Traces id={failed.job_id} code={failed.code} /> : null}
      </details>
    </li>
  );
}

/** What to look for in the log. */
function Traces({ id, code }: { id: string; code: string }) {
  const { data, isError } = useJob(id);
  const request = data?.request_id ?? (isError ? "not known any more" : "…");
  return (
    <span>
      code {code || "internal"} · request {request} · attempt {data?.attempt ?? "…"} · worker {data?.worker ?? "–"}
    </span>
  );
}

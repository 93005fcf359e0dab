import { useState } from "react";
import { toast } from "sonner";

import { Button } from "@/components/Button";
import { Confirm } from "@/components/Dialog";
import { api } from "@/lib/api/client";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { keys, queryClient } from "@/lib/api/queries";
import { bytes, seconds, share } from "@/lib/format";

import { Fact } from "./Fact";
import { Meter } from "./Meter";
import styles from "./Table.module.css";
import { type Heard, factsOf, isGone, meanRows, saidOfStanding, shortName, standingOf } from "./heard";
import { rate } from "./series";
import { rowsPerBatch } from "./ticks";
import { useWatch } from "./watch";

/** All workers; one that left or died is shown so for a while before it goes. */
export function Workers() {
  const { heard, lanes, now_s } = useWatch();
  const [asked, setAsked] = useState<string | null>(null);
  if (heard.length === 0) return null;
  return (
    <section aria-labelledby="workers" className={styles.section}>
      <h2 id="workers">Workers</h2>
      <ul className={styles.rows}>
        {heard.map((one) => (
          <WorkerRow
            key={one.worker.id}
            heard={one}
            now_s={now_s}
            rows={rowsPerBatch(lanes[one.worker.id]?.ticks ?? [])}
            onDrain={() => setAsked(one.worker.id)}
          />
        ))}
      </ul>
      <Confirm
        isOpen={asked !== null}
        title="Drain this worker?"
        description={`${asked ?? ""} takes no more jobs, finishes what it can, and ends. What it cannot finish goes to other workers. “darkroom serve” does not start another for it.`}
        action="Drain"
        onConfirm={() => void drain(asked ?? "")}
        onClose={() => setAsked(null)}
      />
    </section>
  );
}

interface RowProps {
  heard: Heard;
  now_s: number;
  rows: number | null;
  onDrain: () => void;
}

function WorkerRow({ heard, now_s, rows, onDrain }: RowProps) {
  const { worker } = heard;
  const { device, host, version, memory, busy, batches } = factsOf(worker);
  const standing = standingOf(heard, now_s);
  const hasGone = isGone(standing);
  const mean = rows ?? meanRows(batches);
  return (
    <li className={styles.row} data-gone={hasGone || undefined}>
      <div className={styles.main}>
        <strong title={worker.id}>{shortName(worker.id)}</strong>
        <span className={styles.state} data-standing={standing}>
          {saidOfStanding(heard, now_s)}
        </span>
        <span className={styles.soft}>
          {[device, host, version && `version ${version}`].filter(Boolean).join(" · ")}
        </span>
      </div>
      <dl className={styles.facts}>
        <Fact name="Loaded">{worker.loaded.join(", ") || "nothing"}</Fact>
        <Fact name="Memory">
          {memory ? (
            <>
              {bytes(memory.used)} / {bytes(memory.total)}
              <Meter value={memory.used / memory.total} label="Memory used" />
            </>
          ) : (
            "–"
          )}
        </Fact>
        <Fact name="Busy">
          {hasGone ? "–" : share(busy)}
          {hasGone || busy === null ? null : <Meter value={busy} label="Busy" />}
        </Fact>
        <Fact name="Jobs">{hasGone ? "–" : worker.in_flight}</Fact>
        <Fact name="Rows a batch">{mean === null ? "–" : rate(mean)}</Fact>
        <Fact name="A step takes">
          {Object.entries(worker.step_seconds)
            .map(([model, took]) => `${seconds(took)}${worker.models.length > 1 ? ` (${model})` : ""}`)
            .join(", ") || "–"}
        </Fact>
      </dl>
      <div className={styles.acts}>
        <Button
          size="small"
          disabled={hasGone || standing === "draining"}
          aria-label={`Drain ${worker.id}`}
          onClick={onDrain}
        >
          {standing === "draining" ? "Draining" : "Drain"}
        </Button>
      </div>
    </li>
  );
}

async function drain(id: string): Promise<void> {
  try {
    await api.POST("/v1/workers/{worker_id}/drain", { params: { path: { worker_id: id } } });
    toast.success("The worker takes no more jobs, and ends when it has finished.");
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
  await queryClient.invalidateQueries({ queryKey: keys.workers });
}

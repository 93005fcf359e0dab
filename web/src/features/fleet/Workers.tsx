import { useState } from "react";
import { toast } from "sonner";

import { Button } from "@/components/Button";
import { Confirm } from "@/components/Dialog";
import { api } from "@/lib/api/client";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { keys, queryClient } from "@/lib/api/queries";
import { bytes, seconds, share } from "@/lib/format";

import { Meter } from "./Meter";
import styles from "./Table.module.css";
import { type Heard, factsOf, isDrained, meanRows, shortName, standingOf } from "./heard";
import { rate } from "./series";
import { rowsPerBatch } from "./ticks";
import { useWatch } from "./watch";

/** All workers; one that has died is shown as lost before it goes. */
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
  const isLost = standing === "lost";
  const mean = rows ?? meanRows(batches);
  return (
    <li className={styles.row} data-lost={isLost || undefined}>
      <div className={styles.main}>
        <strong title={worker.id}>{shortName(worker.id)}</strong>
        <span className={styles.state} data-standing={standing}>
          {isLost
            ? `${isDrained(heard) ? "ended" : "lost"}, heard ${Math.round(now_s - heard.heard_s)} s ago`
            : standing}
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
          {isLost ? "–" : share(busy)}
          {isLost || busy === null ? null : <Meter value={busy} label="Busy" />}
        </Fact>
        <Fact name="Jobs">{isLost ? "–" : worker.in_flight}</Fact>
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
          disabled={isLost || standing === "draining"}
          aria-label={`Drain ${worker.id}`}
          onClick={onDrain}
        >
          {standing === "draining" ? "Draining" : "Drain"}
        </Button>
      </div>
    </li>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd className="numbers">{children}</dd>
    </div>
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

import { useState } from "react";
import { toast } from "sonner";

import { Button } from "@/components/Button";
import { Confirm } from "@/components/Dialog";
import { isHeard, isPlayed } from "@/components/Player";
import { Progress } from "@/components/Progress";
import { type Job, api, dataOf } from "@/lib/api/client";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { cancelJob } from "@/lib/api/jobs";
import { queryClient, remember } from "@/lib/api/queries";
import { ago, deviceSeconds, moment } from "@/lib/format";
import { inputOf } from "@/lib/jobs";
import { asItStands, useWord } from "@/lib/live";

import { Swatch } from "./JobName";
import { PriorityDialog } from "./PriorityDialog";
import styles from "./Table.module.css";
import { fleetKeys } from "./watch";

/** One job of anybody's, and what an operator can do with it. */
export function JobRow({ job: known }: { job: Job }) {
  const word = useWord(known.id);
  const job = asItStands(known, word);
  return (
    <li className={`${styles.row} ${styles.job}`}>
      <div className={styles.what}>
        <Swatch job={job.id} />
        <Thumb
          prompt={inputOf(job).prompt}
          picture={job.outputs[0]?.url}
          type={job.outputs[0]?.content_type}
          preview={word.preview}
        />
        <div className={styles.main}>
          <strong title={inputOf(job).prompt}>{inputOf(job).prompt}</strong>
          <span className={`${styles.soft} numbers`}>
            {[job.model, job.tenant, `priority ${job.priority}`].join(" · ")}
            {job.priority_class === "normal" ? "" : `, class ${job.priority_class}`}
            {job.attempt > 1 ? ` · attempt ${job.attempt} of ${job.max_attempts}` : ""}
          </span>
        </div>
      </div>
      <div className={styles.progress}>
        <Standing job={job} />
      </div>
      <Deeds job={job} />
    </li>
  );
}

interface ThumbProps {
  prompt: string;
  picture: string | undefined;
  type: string | undefined;
  preview: string | undefined;
}

/** The way to its picture; before there is one, what it looks like so far. */
function Thumb({ prompt, picture, type, preview }: ThumbProps) {
  const shown = picture ?? preview;
  if (!shown) return <span aria-hidden className={styles.thumb} />;
  const image =
    picture && isHeard(type) ? (
      <span className={styles.thumb} />
    ) : picture && isPlayed(type) ? (
      <video src={shown} aria-hidden className={styles.thumb} muted playsInline width={48} height={48} />
    ) : (
      <img src={shown} alt="" className={styles.thumb} loading="lazy" width={48} height={48} />
    );
  if (!picture) return image;
  return (
    <a href={picture} target="_blank" rel="noreferrer" aria-label={`Picture of “${prompt}”`}>
      {image}
    </a>
  );
}

function Standing({ job }: { job: Job }) {
  if (job.state === "running")
    return (
      <>
        <Progress value={job.progress} label={`Progress of ${job.id}`} />
        <span className={`${styles.soft} numbers`}>
          {job.is_cancelling ? "is being cancelled" : `step ${job.step} of ${job.steps}`}
        </span>
      </>
    );
  return <span className={`${styles.soft} numbers`}>{saidOf(job)}</span>;
}

function saidOf(job: Job): string {
  if (job.state === "queued") {
    const place =
      job.queue_position === null ? "waiting" : job.queue_position === 0 ? "next" : `${job.queue_position} before it`;
    return `${place}, since ${ago(job.queued_at ?? job.created_at)}`;
  }
  if (job.state === "scheduled") return job.run_at ? `from ${moment(job.run_at)}` : "for later";
  return `${ago(job.succeeded_at ?? job.created_at)}, took ${deviceSeconds(job.metrics.device_s)}`;
}

type Asking = "cancel" | "priority" | null;

function Deeds({ job }: { job: Job }) {
  const [asking, setAsking] = useState<Asking>(null);
  const prompt = inputOf(job).prompt;
  const isWaiting = job.state === "queued" || job.state === "scheduled";
  if (job.state === "succeeded") return <span />;
  return (
    <div className={styles.acts}>
      {isWaiting ? (
        <Button size="small" aria-label={`Priority of “${prompt}”`} onClick={() => setAsking("priority")}>
          Priority
        </Button>
      ) : null}
      <Button
        size="small"
        aria-label={`Cancel “${prompt}”`}
        disabled={job.is_cancelling}
        onClick={() => setAsking("cancel")}
      >
        Cancel
      </Button>
      <Confirm
        isOpen={asking === "cancel"}
        title="Cancel this job?"
        description={`“${prompt}”, of ${job.tenant}. It ends within a step, and its picture will not be made.`}
        action="Cancel the job"
        onConfirm={() => void doing(() => cancelJob(job.id), "Cancelled")}
        onClose={() => setAsking(null)}
      />
      {asking === "priority" ? (
        <PriorityDialog
          job={job}
          onChange={(priority) => void doing(() => prioritise(job.id, priority), `Its priority is ${priority} now`)}
          onClose={() => setAsking(null)}
        />
      ) : null}
    </div>
  );
}

async function prioritise(id: string, priority: number): Promise<void> {
  const params = { path: { job_id: id } };
  remember(await dataOf(api.PATCH("/v1/jobs/{job_id}", { params, body: { priority } })));
}

async function doing(act: () => Promise<void>, done: string): Promise<void> {
  try {
    await act();
    toast.success(done);
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
  await queryClient.invalidateQueries({ queryKey: fleetKeys.allJobs });
}

import { CircleSlash, RefreshCw, SlidersHorizontal, Trash2, TriangleAlert, X } from "lucide-react";
import { memo, useState } from "react";
import { toast } from "sonner";

import { Button } from "@/components/Button";
import { JobActions, type JobDeeds } from "@/components/JobActions";
import { isHeard } from "@/components/Player";
import { Progress } from "@/components/Progress";
import type { Artifact, Job } from "@/lib/api/client";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { cancelJob, deleteJob } from "@/lib/api/jobs";
import { useJob } from "@/lib/api/queries";
import { deviceSeconds, dollars } from "@/lib/format";
import { frameOf, inputOf } from "@/lib/jobs";
import { asItStands, useWord } from "@/lib/live";

import styles from "./JobCard.module.css";
import { JobFrames } from "./JobFrames";
import { standing } from "./standing";

interface Props {
  id: string;
  deeds: JobDeeds & { onTryAgain: (job: Job) => void };
  /** Its pictures are fetched ahead of others. */
  isFirst: boolean;
  onOpen: (output: Artifact) => void;
}

/** One job from the moment it was accepted to its pictures. */
export const JobCard = memo(function JobCard({ id, deeds, isFirst, onOpen }: Props) {
  const known = useJob(id).data;
  const word = useWord(id);
  if (!known) return null;
  const job = asItStands(known, word);
  const isLive = job.state === "queued" || job.state === "running" || job.state === "scheduled";
  const isArriving = job.state === "succeeded" && job.outputs.length === 0;
  return (
    <article className={styles.card} data-job={id} tabIndex={-1} aria-label={inputOf(job).prompt}>
      <JobFrames job={job} preview={word.preview} isFirst={isFirst} onOpen={onOpen} />
      <div className={styles.bar}>
        {isLive || isArriving ? (
          <Progress value={job.state === "running" ? job.progress : isArriving ? 1 : null} label="Progress" />
        ) : null}
      </div>
      <p className={styles.prompt} title={inputOf(job).prompt}>
        {inputOf(job).prompt}
      </p>
      <div className={styles.foot}>
        {isLive || isArriving ? (
          <Live job={job} />
        ) : job.state === "succeeded" ? (
          <Done job={job} />
        ) : (
          <Ended job={job} />
        )}
        <div className={`${styles.actions} ${job.state === "succeeded" ? styles.done : ""}`}>
          {isLive ? <Cancel job={job} /> : null}
          {job.state === "succeeded" && !isArriving ? <JobActions job={job} deeds={deeds} /> : null}
          {job.state === "failed" || job.state === "cancelled" ? <Again job={job} deeds={deeds} /> : null}
        </div>
      </div>
      <Notes job={job} />
      <span role="status" className="hidden-visually">
        {isArriving ? "" : job.state}
      </span>
    </article>
  );
});

function Live({ job }: { job: Job }) {
  const { title, note } = standing(job);
  return (
    <p className={`${styles.small} numbers`}>
      {title}
      <br />
      {note || " "}
    </p>
  );
}

function Done({ job }: { job: Job }) {
  const asked = frameOf(job.input); // of a plain pipeline only the picture tells
  const [width, height] = [job.outputs[0]?.width ?? asked.width, job.outputs[0]?.height ?? asked.height];
  const { device_s, cost_usd } = job.metrics;
  const facts = [
    isHeard(job.outputs[0]?.content_type) ? "" : `${width} × ${height}`,
    device_s === null ? "" : deviceSeconds(device_s),
    cost_usd ? dollars(cost_usd) : "",
  ];
  return (
    <p className={`${styles.small} numbers`}>
      {facts.filter(Boolean).join(" · ")}
      <br />
      seed {String(job.input.seed)}
    </p>
  );
}

function Ended({ job }: { job: Job }) {
  return (
    <p className={styles.small}>
      {job.state === "cancelled" ? <CircleSlash aria-hidden /> : <TriangleAlert aria-hidden className={styles.bad} />}{" "}
      {job.state === "cancelled" ? "Cancelled" : "Failed"}
    </p>
  );
}

/** What the gateway says beside the pictures: why there are none, and what of the prompt was not read. */
function Notes({ job }: { job: Job }) {
  return (
    <>
      {job.state === "failed" && job.error ? (
        <div className={styles.fault} role="alert">
          <strong>{sentenceOf(job.error)}</strong>
          <span>{detailOf(job.error)}</span>
        </div>
      ) : null}
      {job.warnings.map((warning) => (
        <p key={warning} className={styles.warning}>
          {warning}
        </p>
      ))}
    </>
  );
}

function Cancel({ job }: { job: Job }) {
  const [isAsked, setIsAsked] = useState(false);
  const cancel = async (): Promise<void> => {
    setIsAsked(true);
    try {
      await cancelJob(job.id);
    } catch (error) {
      setIsAsked(false);
      toast.error(sentenceOf(error), { description: detailOf(error) });
    }
  };
  const isCancelling = isAsked || job.is_cancelling;
  return (
    <Button size="small" icon={<X />} disabled={isCancelling} onClick={() => void cancel()}>
      {isCancelling ? "Cancelling" : "Cancel"}
    </Button>
  );
}

function Again({ job, deeds }: { job: Job; deeds: Props["deeds"] }) {
  const remove = (): void => {
    deleteJob(job.id).catch((error: unknown) => toast.error(sentenceOf(error)));
  };
  return (
    <>
      <Button size="small" icon={<RefreshCw />} onClick={() => deeds.onTryAgain(job)}>
        Try again
      </Button>
      <Button
        look="ghost"
        size="small"
        aria-label="Use these settings"
        icon={<SlidersHorizontal />}
        onClick={() => deeds.onSettings?.(job)}
      />
      <Button look="ghost" size="small" aria-label="Remove" icon={<Trash2 />} onClick={remove} />
    </>
  );
}

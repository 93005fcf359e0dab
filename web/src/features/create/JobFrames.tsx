import { Picture } from "@/components/Picture";
import type { Artifact, Job } from "@/lib/api/client";
import { type Frame, frameOf, inputOf } from "@/lib/jobs";

import styles from "./JobFrames.module.css";

interface Props {
  job: Job;
  preview: string | undefined;
  isFirst: boolean;
  onOpen: (output: Artifact) => void;
}

/** The pictures of a job; their frames stand from the start, and what develops shows in the first. */
export function JobFrames({ job, preview, isFirst, onOpen }: Props) {
  const frame = frameOf(job.input);
  const count = Math.max(frame.count, job.outputs.length);
  const prompt = inputOf(job).prompt;
  return (
    <div className={styles.frames} data-columns={columnsOf(count, frame)}>
      {Array.from({ length: count }, (_, at) => {
        const output = job.outputs[at];
        if (!output) return <Developing key={at} frame={frame} preview={at === 0 ? preview : undefined} job={job} />;
        const name = count > 1 ? `${prompt}, ${at + 1} of ${count}` : prompt;
        return (
          <button key={at} type="button" className={styles.open} onClick={() => onOpen(output)}>
            <Picture
              src={output.url}
              type={output.content_type}
              alt={name}
              width={output.width}
              height={output.height}
              isFirst={isFirst}
            />
          </button>
        );
      })}
    </div>
  );
}

function Developing({ frame, preview, job }: { frame: Frame; preview: string | undefined; job: Job }) {
  const isUnderWay = job.state === "running" || job.state === "succeeded";
  return (
    <div className={styles.developing} data-under-way={isUnderWay || undefined} data-state={job.state}>
      <Picture
        src={isUnderWay ? preview : undefined}
        alt="As far as it has developed"
        width={frame.width}
        height={frame.height}
        isSoft
        isLazy={false}
      />
    </div>
  );
}

/** A frame before there is even a job. */
export function BareFrames({ frame }: { frame: Frame }) {
  return (
    <div className={styles.frames} data-columns={columnsOf(frame.count, frame)}>
      {Array.from({ length: frame.count }, (_, at) => (
        <div key={at} className={styles.developing}>
          <Picture src={undefined} alt="" width={frame.width} height={frame.height} />
        </div>
      ))}
    </div>
  );
}

/** Two wide ones stand above each other, else they would be slivers. */
function columnsOf(count: number, { width, height }: Frame): number {
  if (count === 1 || (count === 2 && width > height * 1.2)) return 1;
  return count <= 4 ? 2 : count <= 9 ? 3 : 4;
}

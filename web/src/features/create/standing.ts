/** Where a live job stands, in words. */

import type { Job } from "@/lib/api/client";
import { moment, seconds } from "@/lib/format";

export function standing(job: Job): { title: string; note: string } {
  const left = job.eta_s === null ? "" : `about ${seconds(job.eta_s)}`;
  if (job.is_cancelling) return { title: "Cancelling", note: "it stops after this step" };
  if (job.state === "scheduled")
    return { title: "Planned", note: job.run_at ? moment(job.run_at) : "it is tried again soon" };
  if (job.state === "queued") return { title: placeOf(job), note: left };
  if (job.state === "succeeded") return { title: "Done", note: "the pictures are coming" };
  const isAgain = job.attempt > 1 ? `attempt ${job.attempt} of ${job.max_attempts}` : "";
  if (job.steps === 0 || job.step === 0) return { title: "Starting", note: isAgain || left };
  if (job.step >= job.steps) return { title: "Finishing", note: isAgain };
  return {
    title: `Step ${job.step} of ${job.steps}`,
    note: [isAgain, left && `${left} left`].filter(Boolean).join(", "),
  };
}

function placeOf({ queue_position }: Job): string {
  if (queue_position === null) return "In the queue";
  return queue_position === 0 ? "Next in the queue" : `${queue_position} before it in the queue`;
}

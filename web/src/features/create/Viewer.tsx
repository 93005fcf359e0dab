import { JobActions, type JobDeeds } from "@/components/JobActions";
import { Lightbox, type Shown } from "@/components/Lightbox";
import type { Artifact, Job } from "@/lib/api/client";
import { keys, queryClient } from "@/lib/api/queries";
import { deviceSeconds, dollars } from "@/lib/format";
import { inputOf } from "@/lib/jobs";

import { isOfGrid, useStage } from "./grids";

interface Props {
  /** The artifact that is open. */
  open: string;
  deeds: JobDeeds;
  onOpen: (artifact: string | null) => void;
}

interface Seen extends Shown {
  job: Job;
  output: Artifact;
}

/** The finished pictures one by one, in the order of the stage. */
export function Viewer({ open, deeds, onOpen }: Props) {
  const items = seen();
  const at = items.findIndex((item) => item.id === open);
  const item = items[at];
  if (!item) return null;
  const { job, output } = item;
  const leaving: JobDeeds = {
    ...deeds,
    onUse: (one, picture) => {
      onOpen(null);
      deeds.onUse?.(one, picture);
    },
    onSettings: (one, picture) => {
      onOpen(null);
      deeds.onSettings?.(one, picture);
    },
    onDeleted: () => onOpen((items[at + job.outputs.length] ?? items[at - 1])?.id ?? null),
  };
  return (
    <Lightbox
      items={items}
      at={at}
      onMove={(to) => onOpen(items[to]?.id ?? null)}
      onClose={() => onOpen(null)}
      caption={<Caption job={job} output={output} />}
      actions={<JobActions job={job} output={output} deeds={leaving} />}
    />
  );
}

function Caption({ job, output }: { job: Job; output: Artifact }) {
  const { num_inference_steps: steps, guidance_scale: guidance, solver } = inputOf(job);
  const facts = [
    output.width && `${output.width} × ${output.height}`,
    `seed ${output.seed}`,
    steps && `${steps} steps`,
    guidance !== undefined && `guidance ${guidance}`,
    solver,
    job.metrics.device_s !== null && deviceSeconds(job.metrics.device_s),
    Boolean(job.metrics.cost_usd) && dollars(job.metrics.cost_usd),
  ];
  return <span className="numbers">{facts.filter(Boolean).join(" · ")}</span>;
}

/** Every picture of the jobs on the stage; looked up when it is needed, so that nothing else draws for it. */
function seen(): Seen[] {
  const lists = queryClient.getQueriesData<string[]>({ queryKey: keys.recent, type: "active" });
  const isShown = useStage.getState().isWithGrids ? () => true : (id: string) => !isOfGrid(id);
  const ids = lists.flatMap(([, data]) => data ?? []).filter(isShown);
  return [...new Set(ids)].flatMap((id) => {
    const job = queryClient.getQueryData<Job>(keys.job(id));
    return (job?.outputs ?? []).map((output) => ({
      id: output.artifact_id,
      src: output.url,
      type: output.content_type,
      alt: job ? inputOf(job).prompt : "",
      width: output.width ?? 1,
      height: output.height ?? 1,
      job: job as Job,
      output,
    }));
  });
}

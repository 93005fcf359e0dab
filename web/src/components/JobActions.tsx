import {
  Braces,
  Download,
  Ellipsis,
  ImagePlus,
  RotateCcw,
  Shuffle,
  SlidersHorizontal,
  Terminal,
  Trash2,
} from "lucide-react";
import { useState } from "react";
import { toast } from "sonner";

import { type Artifact, type Job, bytesOf } from "@/lib/api/client";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { deleteJob } from "@/lib/api/jobs";
import { copy } from "@/lib/clipboard";
import { commandOf, fileNameOf, settingsJson } from "@/lib/jobs";
import { saveAs } from "@/lib/save";

import { Button } from "./Button";
import { Confirm } from "./Dialog";
import { type Item, Menu } from "./Menu";
import { isPlayed } from "./Player";
import { Tip } from "./Tip";

export interface JobDeeds {
  /** The same settings, another seed. */
  onVary?: (job: Job) => void;
  /** The same pixels; of one picture where it is named. */
  onRepeat?: (job: Job, of?: Artifact) => void;
  /** Start another from this picture. */
  onUse?: (job: Job, output: Artifact) => void;
  /** Into the form, to make it again or otherwise. */
  onSettings?: (job: Job, of?: Artifact) => void;
  onDeleted?: (job: Job) => void;
}

interface Props {
  job: Job;
  /** The picture that is meant; the job's first unless said. */
  output?: Artifact | undefined;
  deeds: JobDeeds;
}

/** What can be done with a finished job: the usual as buttons, the rest in a menu. */
export function JobActions({ job, output, deeds }: Props) {
  const [isAsking, setIsAsking] = useState(false);
  const picture = output ?? job.outputs[0];
  const { onVary, onUse } = deeds;
  return (
    <>
      {picture ? <Act name="Download" icon={<Download />} onAct={() => void download(job, output)} /> : null}
      {onVary ? <Act name="Vary: the same with another seed" icon={<Shuffle />} onAct={() => onVary(job)} /> : null}
      {picture && onUse && !isPlayed(picture.content_type) ? (
        <Act name="Use as input" icon={<ImagePlus />} onAct={() => onUse(job, picture)} />
      ) : null}
      <Menu
        trigger={<Button look="ghost" aria-label="More" icon={<Ellipsis />} />}
        groups={[...moreOf(job, output, deeds), [askDelete(() => setIsAsking(true))]]}
      />
      {isAsking ? (
        <Confirm
          isOpen
          title={job.outputs.length > 1 ? `Delete these ${job.outputs.length} pictures?` : "Delete this job?"}
          description="The job and its pictures are removed from the server. This cannot be taken back."
          action="Delete"
          onConfirm={() => void remove(job, deeds)}
          onClose={() => setIsAsking(false)}
        />
      ) : null}
    </>
  );
}

function Act({ name, icon, onAct }: { name: string; icon: React.ReactNode; onAct: () => void }) {
  return (
    <Tip text={name}>
      <Button look="ghost" aria-label={name} icon={icon} onClick={onAct} />
    </Tip>
  );
}

function moreOf(job: Job, output: Artifact | undefined, { onRepeat, onSettings }: JobDeeds): Item[][] {
  const again: Item[] = [];
  if (onRepeat)
    again.push({
      label: "Repeat exactly",
      icon: <RotateCcw />,
      note: "same seed, same pixels",
      onSelect: () => onRepeat(job, output),
    });
  if (onSettings)
    again.push({ label: "Use these settings", icon: <SlidersHorizontal />, onSelect: () => onSettings(job, output) });
  return [
    again,
    [
      {
        label: "Copy settings as JSON",
        icon: <Braces />,
        onSelect: () => void copied(settingsJson(job, output), "Settings"),
      },
      {
        label: "Copy as a command",
        icon: <Terminal />,
        onSelect: () => void copied(commandOf(job, output), "Command"),
      },
    ],
  ];
}

const askDelete = (onSelect: () => void): Item => ({ label: "Delete", icon: <Trash2 />, isDanger: true, onSelect });

async function copied(text: string, what: string): Promise<void> {
  if (await copy(text)) toast.success(`${what} copied`);
  else toast.error("This browser does not let pages copy.", { description: text });
}

/** The picture as a file, or all of the job's. */
export async function download(job: Job, output?: Artifact): Promise<void> {
  try {
    for (const one of output ? [output] : job.outputs) saveAs(await bytesOf(one), fileNameOf(job, one));
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
}

async function remove(job: Job, { onDeleted }: JobDeeds): Promise<void> {
  try {
    await deleteJob(job.id);
    onDeleted?.(job);
    toast.success("Deleted");
  } catch (error) {
    toast.error(sentenceOf(error), { description: detailOf(error) });
  }
}

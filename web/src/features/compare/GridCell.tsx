import { Check, CircleSlash, Clock, TriangleAlert } from "lucide-react";
import { memo } from "react";

import { Picture } from "@/components/Picture";
import { Progress } from "@/components/Progress";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { keys, queryClient } from "@/lib/api/queries";
import { asItStands, useWord } from "@/lib/live";

import styles from "./GridCell.module.css";
import { type Spot, liveText } from "./standing";

interface Props {
  spot: Spot;
  /** In words: which values it has. */
  name: string;
  frame: { width: number; height: number };
  at: number;
  isReached: boolean;
  isChosen: boolean;
  onOpen: (at: number) => void;
  onChoose: (at: number) => void;
}

/** One cell from a bare frame to its picture. */
export const GridCell = memo(function GridCell(props: Props) {
  const { spot, name, frame, at, isReached, isChosen, onOpen, onChoose } = props;
  const word = useWord(spot.id ?? "");
  const job = spot.job ? asItStands(spot.job, word) : null;
  const output = spot.job?.outputs[0];
  const isLive = spot.status === "live";
  const said = isLive && job ? liveText(job) : SAID[spot.status];
  const id = spot.id;
  return (
    <div className={styles.cell} data-status={spot.status} data-chosen={isChosen || undefined}>
      <button
        type="button"
        className={styles.open}
        data-at={at}
        tabIndex={isReached ? 0 : -1}
        onClick={() => onOpen(at)}
      >
        <span className="hidden-visually">{name}</span>
        <Picture
          src={output?.url ?? (isLive ? word.preview : undefined)}
          alt=""
          width={output?.width ?? frame.width}
          height={output?.height ?? frame.height}
          isSoft={!output}
          isLazy={false}
          onBroken={id ? () => void queryClient.invalidateQueries({ queryKey: keys.job(id) }) : undefined}
        />
        {said ? (
          <span className={styles.said}>
            {ICONS[spot.status]}
            <span>{said}</span>
            {spot.error && spot.status === "refused" ? (
              <small title={detailOf(spot.error)}>{sentenceOf(spot.error)}</small>
            ) : null}
            {spot.status === "failed" && job?.error ? (
              <small title={detailOf(job.error)}>{sentenceOf(job.error)}</small>
            ) : null}
          </span>
        ) : null}
      </button>
      <div className={styles.bar}>
        {isLive && job ? (
          <Progress value={job.state === "queued" ? null : job.progress} label={`Progress of ${name}`} />
        ) : null}
      </div>
      {spot.status === "done" ? (
        <button
          type="button"
          className={styles.choose}
          tabIndex={-1}
          aria-pressed={isChosen}
          aria-label={`Choose ${name}`}
          onClick={() => onChoose(at)}
        >
          <span>
            <Check aria-hidden />
          </span>
        </button>
      ) : null}
    </div>
  );
});

const SAID: Readonly<Record<Spot["status"], string>> = {
  new: "",
  sending: "On its way",
  refused: "Refused",
  loading: "Loading",
  missing: "No longer there",
  unknown: "Cannot be fetched",
  live: "",
  done: "",
  failed: "Failed",
  cancelled: "Cancelled",
};

const ICONS: Partial<Record<Spot["status"], React.ReactNode>> = {
  sending: <Clock aria-hidden />,
  refused: <TriangleAlert aria-hidden />,
  missing: <CircleSlash aria-hidden />,
  unknown: <TriangleAlert aria-hidden />,
  failed: <TriangleAlert aria-hidden />,
  cancelled: <CircleSlash aria-hidden />,
};

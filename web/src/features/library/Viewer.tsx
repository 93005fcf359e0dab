import { Info, SlidersHorizontal, Trash2 } from "lucide-react";
import { useMemo, useState } from "react";
import { useNavigate } from "react-router";

import { Button } from "@/components/Button";
import { JobActions } from "@/components/JobActions";
import { Lightbox } from "@/components/Lightbox";
import { Fault, Waiting } from "@/components/Notice";
import { Tip } from "@/components/Tip";
import { useJob } from "@/lib/api/queries";
import { ago } from "@/lib/format";
import { type Handed, handOver } from "@/lib/handover";
import { store, stored } from "@/lib/stored";

import { Details } from "./Details";
import type { Piece } from "./made";
import { drop, refresh } from "./shelf";
import styles from "./Viewer.module.css";

interface Props {
  pieces: readonly Piece[];
  /** The picture that is open. */
  open: string;
  onOpen: (id: string | null) => void;
  onDelete: (piece: Piece) => void;
}

const DETAILS = "darkroom.library.details";

/** The pictures one by one, with all that is known of them. */
export function Viewer({ pieces, open, onOpen, onDelete }: Props) {
  const [isDetailed, setIsDetailed] = useState(() => stored(DETAILS, isBoolean) ?? false);
  const navigate = useNavigate();
  const items = useMemo(() => pieces.map(shownOf), [pieces]);
  const at = pieces.findIndex(({ id }) => id === open);
  const piece = pieces[at];
  const job = useJob(piece?.made.id ?? "");
  if (!piece) return null;
  const output = job.data?.outputs.find((one) => one.artifact_id === piece.id);
  const fold = (): void => {
    store(DETAILS, !isDetailed);
    setIsDetailed(!isDetailed);
  };
  const toCreate = (handed: Handed): void => {
    handOver(handed);
    void navigate("/");
  };
  const keys: Record<string, () => void> = { i: fold, Delete: () => onDelete(piece), Backspace: () => onDelete(piece) };
  return (
    <Lightbox
      items={items}
      at={at}
      onMove={(to) => onOpen(pieces[to]?.id ?? null)}
      onClose={() => onOpen(null)}
      onBroken={() => void refresh(piece.made.id)}
      onKey={(event) => {
        const act = isButton(event.target)
          ? undefined
          : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
        act?.();
        return act !== undefined;
      }}
      caption={
        <span className="numbers">
          {ago(new Date(piece.made.at))} · {piece.width} × {piece.height} · seed {piece.seed}
        </span>
      }
      aside={
        !isDetailed ? null : job.data && output ? (
          <Details job={job.data} output={output} />
        ) : job.error ? (
          <Fault error={job.error} onRetry={() => void job.refetch()} />
        ) : (
          <Waiting label="Asking for the details" height="100%" />
        )
      }
      actions={
        <>
          <Tip text="Details (I)">
            <Button look="ghost" aria-label="Details" aria-pressed={isDetailed} icon={<Info />} onClick={fold} />
          </Tip>
          {job.data && output ? (
            <>
              <Button
                icon={<SlidersHorizontal />}
                onClick={() => toCreate({ kind: "settings", job: job.data, output })}
              >
                <span className={styles.word}>Open in Create</span>
              </Button>
              <JobActions
                job={job.data}
                output={output}
                deeds={{
                  onUse: (one, picture) => toCreate({ kind: "picture", job: one, output: picture }),
                  onDeleted: ({ id }) => {
                    onOpen((pieces.slice(at).find(({ made }) => made.id !== id) ?? pieces[at - 1])?.id ?? null);
                    drop([id]);
                  },
                }}
              />
            </>
          ) : (
            <Tip text="Delete">
              <Button look="ghost" aria-label="Delete" icon={<Trash2 />} onClick={() => onDelete(piece)} />
            </Tip>
          )}
        </>
      }
    />
  );
}

const shownOf = ({ id, url, type, made, width, height }: Piece) => ({
  id,
  src: url,
  type,
  alt: made.prompt,
  width,
  height,
});

const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";

const isButton = (target: EventTarget): boolean => target instanceof Element && target.closest("[role=menu]") !== null;

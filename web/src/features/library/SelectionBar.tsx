import { CheckCheck, Download, Trash2, X } from "lucide-react";

import { Button } from "@/components/Button";
import { FloatingBar } from "@/components/FloatingBar";
import { Progress } from "@/components/Progress";
import { Tip } from "@/components/Tip";
import { bytes } from "@/lib/format";

import { type Work, useWork } from "./bulk";
import type { Piece } from "./made";
import { clear } from "./selected";
import styles from "./SelectionBar.module.css";

interface Props {
  selected: readonly Piece[];
  isSelecting: boolean;
  onAll: () => void;
  onSave: () => void;
  onDelete: () => void;
}

/** What can be done with the selected; while it is being done, how far it is. */
export function SelectionBar({ selected, isSelecting, ...acts }: Props) {
  const work = useWork((state) => state.work);
  if (!work && !isSelecting && selected.length === 0) return null;
  return (
    <FloatingBar label="Selection" className={styles.bar}>
      {work ? <UnderWay work={work} /> : <Chosen selected={selected} {...acts} />}
    </FloatingBar>
  );
}

function Chosen({ selected, onAll, onSave, onDelete }: Omit<Props, "isSelecting">) {
  const isNone = selected.length === 0;
  const size = selected.reduce((sum, piece) => sum + piece.size, 0);
  return (
    <>
      <p className={`${styles.said} numbers`} role="status">
        {isNone ? "Tap pictures to select" : `${selected.length.toLocaleString("en")} selected`}
        {isNone ? null : <small>{bytes(size)}</small>}
      </p>
      <Tip text="Select all (Ctrl A)">
        <Button look="ghost" aria-label="Select all" icon={<CheckCheck />} onClick={onAll} />
      </Tip>
      <Button icon={<Download />} disabled={isNone} onClick={onSave}>
        <span className={styles.word}>Download</span>
      </Button>
      <Button look="danger" icon={<Trash2 />} disabled={isNone} onClick={onDelete}>
        <span className={styles.word}>Delete</span>
      </Button>
      <Tip text="Select nothing (Esc)">
        <Button look="ghost" aria-label="Select nothing" icon={<X />} onClick={clear} />
      </Tip>
    </>
  );
}

function UnderWay({ work }: { work: Work }) {
  return (
    <>
      <div className={`${styles.work} numbers`}>
        {work.name} {work.done.toLocaleString("en")} of {work.of.toLocaleString("en")}
        <Progress value={work.done / work.of} label={work.name} />
      </div>
      <Button onClick={work.stop}>Stop</Button>
    </>
  );
}

import { X } from "lucide-react";

import { Button } from "@/components/Button";
import { FloatingBar } from "@/components/FloatingBar";

import styles from "./ChosenBar.module.css";
import type { Mode } from "./panes";

interface Props {
  count: number;
  onLook: (mode: Mode) => void;
  onClear: () => void;
}

/** What can be done with the chosen cells. */
export function ChosenBar({ count, onLook, onClear }: Props) {
  return (
    <FloatingBar label="Chosen" className={styles.bar}>
      <span className={`${styles.said} numbers`}>
        {count}
        <span> chosen</span>
      </span>
      <Button size="small" onClick={() => onLook("side")}>
        Side by side
      </Button>
      <Button size="small" onClick={() => onLook("wipe")}>
        Wipe
      </Button>
      <Button size="small" onClick={() => onLook("difference")}>
        Difference
      </Button>
      <Button size="small" look="ghost" aria-label="Choose none" icon={<X />} onClick={onClear} />
    </FloatingBar>
  );
}

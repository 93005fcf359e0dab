import type { ReactNode } from "react";

import { detailOf, isPassing, sentenceOf } from "@/lib/api/errors";

import { Button } from "./Button";
import styles from "./Notice.module.css";

interface EmptyProps {
  icon?: ReactNode;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

/** What stands where there is nothing yet, and how to get something there. */
export function Empty({ icon, title, children, action }: EmptyProps) {
  return (
    <div className={styles.empty}>
      {icon ? <div className={styles.icon}>{icon}</div> : null}
      <h2>{title}</h2>
      {children ? <p>{children}</p> : null}
      {action}
    </div>
  );
}

/** What went wrong: a sentence for people, the gateway's own words, and a way on. */
export function Fault({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const detail = detailOf(error);
  return (
    <div className={styles.fault} role="alert">
      <strong>{sentenceOf(error)}</strong>
      {detail ? <span>{detail}</span> : null}
      {onRetry && isPassing(error) ? (
        <Button size="small" onClick={onRetry}>
          Try again
        </Button>
      ) : null}
    </div>
  );
}

/** Holds the place of what is on its way; `label` is for those who do not see it. */
export function Waiting({ label = "Loading", height = "8rem" }: { label?: string; height?: string }) {
  return (
    <div className={styles.waiting} style={{ height }} role="status">
      <span className="hidden-visually">{label}</span>
    </div>
  );
}

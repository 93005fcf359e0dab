import { type ReactNode, useId } from "react";

import styles from "./Field.module.css";

interface Parts {
  id: string;
  describedBy: string | undefined;
}

interface Props {
  label: string;
  hint?: ReactNode;
  error?: string | undefined;
  aside?: ReactNode;
  children: (parts: Parts) => ReactNode;
}

/** A label, its control, and beneath it the hint or what is wrong; the control takes `id` and `describedBy`. */
export function Field({ label, hint, error, aside, children }: Props) {
  const id = useId();
  const noteId = `${id}-note`;
  const note = error ?? hint;
  return (
    <div className={styles.field}>
      <div className={styles.head}>
        <label htmlFor={id}>{label}</label>
        {aside}
      </div>
      {children({ id, describedBy: note ? noteId : undefined })}
      {note ? (
        <p id={noteId} className={error ? styles.error : styles.hint} role={error ? "alert" : undefined}>
          {note}
        </p>
      ) : null}
    </div>
  );
}

/** What is wrong with controls that are no `Field`; nothing where nothing is. */
export function FieldFault({ children }: { children: ReactNode }) {
  if (!children) return null;
  return (
    <p className={styles.error} role="alert">
      {children}
    </p>
  );
}

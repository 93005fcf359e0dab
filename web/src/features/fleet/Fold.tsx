import { type ReactNode, useState } from "react";

import styles from "./Fold.module.css";

/** Numbers behind a line of text: made only once they are asked for. */
export function Fold({ title, children }: { title: string; children: () => ReactNode }) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <details className={styles.fold} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      {isOpen ? (
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keys
        <div className={styles.inside} role="region" aria-label={title} tabIndex={0}>
          {children()}
        </div>
      ) : null}
    </details>
  );
}

import type { ReactNode } from "react";

import styles from "./FloatingBar.module.css";

/** What can be done with what is chosen, over the foot of the room. */
export function FloatingBar({
  label,
  className,
  children,
}: {
  label: string;
  className?: string | undefined;
  children: ReactNode;
}) {
  return (
    <section className={[styles.bar, className].filter(Boolean).join(" ")} aria-label={label}>
      {children}
    </section>
  );
}

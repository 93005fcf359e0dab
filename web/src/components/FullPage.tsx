import { Dialog as Radix } from "radix-ui";
import type { KeyboardEvent, ReactNode, Ref } from "react";

import styles from "./FullPage.module.css";

interface Props {
  className?: string | undefined;
  ref?: Ref<HTMLDivElement>;
  onKey: (event: KeyboardEvent) => void;
  onClose: () => void;
  children: ReactNode;
}

/** A sheet over the whole page, for pictures; it has the focus itself, so that its keys work at once. */
export function FullPage({ className, ref, onKey, onClose, children }: Props) {
  return (
    <Radix.Root open onOpenChange={(open) => !open && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className={styles.overlay} />
        <Radix.Content
          ref={ref}
          className={[styles.content, className].filter(Boolean).join(" ")}
          aria-describedby={undefined}
          onKeyDown={onKey}
          onOpenAutoFocus={(event) => {
            event.preventDefault();
            if (event.currentTarget instanceof HTMLElement) event.currentTarget.focus();
          }}
        >
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** What it is called, on one line. */
export function FullPageTitle({ children }: { children: ReactNode }) {
  return <Radix.Title className={styles.title}>{children}</Radix.Title>;
}

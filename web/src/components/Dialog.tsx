import { X } from "lucide-react";
import { Dialog as Radix } from "radix-ui";
import type { ReactNode } from "react";

import { Button } from "./Button";
import styles from "./Dialog.module.css";

interface Props {
  isOpen: boolean;
  title: string;
  description?: string;
  isWide?: boolean;
  children: ReactNode;
  onClose: () => void;
}

/** A sheet over the page; the focus stays inside, Escape closes it. */
export function Dialog({ isOpen, title, description, isWide = false, children, onClose }: Props) {
  return (
    <Radix.Root open={isOpen} onOpenChange={(open) => !open && onClose()}>
      <Radix.Portal>
        <Radix.Overlay className={styles.overlay} />
        <Radix.Content
          className={[styles.content, isWide && styles.wide].filter(Boolean).join(" ")}
          {...(description ? {} : { "aria-describedby": undefined })}
        >
          <div className={styles.head}>
            <Radix.Title className={styles.title}>{title}</Radix.Title>
            <Radix.Close asChild>
              <Button look="ghost" size="small" aria-label="Close" icon={<X />} />
            </Radix.Close>
          </div>
          {description ? <Radix.Description className={styles.description}>{description}</Radix.Description> : null}
          {children}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

interface ConfirmProps {
  isOpen: boolean;
  title: string;
  description: string;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something that cannot be taken back. */
export function Confirm({ isOpen, title, description, action, onConfirm, onClose }: ConfirmProps) {
  return (
    <Dialog isOpen={isOpen} title={title} description={description} onClose={onClose}>
      <div className={styles.actions}>
        <Button onClick={onClose}>Keep as it is</Button>
        <Button
          look="danger"
          onClick={() => {
            onConfirm();
            onClose();
          }}
        >
          {action}
        </Button>
      </div>
    </Dialog>
  );
}

import { Tooltip } from "radix-ui";
import type { ReactNode } from "react";

import styles from "./Tip.module.css";

/** Says on hover and on focus what a control does; the control has its own accessible name. */
export function Tip({ text, children }: { text: string; children: ReactNode }) {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content className={styles.tip} sideOffset={6}>
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}

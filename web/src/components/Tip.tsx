import { Slot, Tooltip } from "radix-ui";
import { type ReactNode, type SyntheticEvent, useState } from "react";

import { StandIn, type Waking } from "./StandIn";
import styles from "./Tip.module.css";

/** Says on hover and on focus what a control does; the control has its own accessible name. */
export function Tip({ text, children }: { text: string; children: ReactNode }) {
  const [waking, setWaking] = useState<Waking | null>(null);
  const wake = (event: SyntheticEvent<HTMLElement>): void => {
    const element = event.currentTarget;
    const isOfPointer = event.type === "focus" && !element.matches(":focus-visible"); // a tap or click follows
    if (waking?.element !== element && !isOfPointer) setWaking({ element, event });
  };
  return (
    <>
      <Slot.Root onPointerMove={wake} onFocus={wake}>
        {children}
      </Slot.Root>
      {waking ? (
        <Tooltip.Root>
          <Tooltip.Trigger asChild>
            <StandIn waking={waking} />
          </Tooltip.Trigger>
          <Tooltip.Portal>
            <Tooltip.Content className={styles.tip} sideOffset={6}>
              {text}
            </Tooltip.Content>
          </Tooltip.Portal>
        </Tooltip.Root>
      ) : null}
    </>
  );
}

import { DropdownMenu as Radix, Slot } from "radix-ui";
import { type ReactElement, type ReactNode, type SyntheticEvent, useState } from "react";
import { flushSync } from "react-dom";

import { StandIn, type Waking } from "./StandIn";
import styles from "./Menu.module.css";

export interface Item {
  label: string;
  icon?: ReactNode;
  /** A second line, such as what it will do. */
  note?: string;
  isDanger?: boolean;
  isDisabled?: boolean;
  onSelect: () => void;
}

interface Props {
  /** The button that opens it. */
  trigger: ReactElement;
  /** Groups of items, with a line between them. */
  groups: readonly (readonly Item[])[];
  align?: "start" | "end";
}

/** Things to do or to choose, behind one button. */
export function Menu({ trigger, groups, align = "end" }: Props) {
  const [waking, setWaking] = useState<Waking | null>(null);
  const wake = (event: SyntheticEvent<HTMLElement>): void => {
    const element = event.currentTarget;
    if (waking?.element === element) return;
    const act = (): void => setWaking({ element, event });
    // Keys come after the focus. For a pointer all must be here at once: it is now that the browser moves the focus.
    if (event.type === "focus") act();
    else flushSync(act);
  };
  return (
    <>
      <Slot.Root aria-haspopup="menu" aria-expanded={false} onPointerDown={wake} onFocus={wake}>
        {trigger}
      </Slot.Root>
      {waking ? (
        <Radix.Root>
          <Radix.Trigger asChild>
            <StandIn waking={waking} />
          </Radix.Trigger>
          <Radix.Portal>
            <Radix.Content className={styles.content} align={align} sideOffset={4} collisionPadding={8}>
              <Groups groups={groups} />
            </Radix.Content>
          </Radix.Portal>
        </Radix.Root>
      ) : null}
    </>
  );
}

function Groups({ groups }: Pick<Props, "groups">) {
  const filled = groups.filter((items) => items.length > 0);
  return filled.map((items, at) => (
    <Radix.Group key={items[0]?.label} className={styles.group} data-follows={at > 0 || undefined}>
      {items.map((item, number) => (
        <Radix.Item
          key={`${item.label} ${number}`}
          className={styles.item}
          data-danger={item.isDanger || undefined}
          disabled={item.isDisabled ?? false}
          onSelect={item.onSelect}
        >
          {item.icon}
          <span className={styles.text}>
            {item.label}
            {item.note ? <small>{item.note}</small> : null}
          </span>
        </Radix.Item>
      ))}
    </Radix.Group>
  ));
}

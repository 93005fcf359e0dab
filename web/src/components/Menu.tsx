import { DropdownMenu as Radix } from "radix-ui";
import type { ReactElement, ReactNode } from "react";

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
  const filled = groups.filter((items) => items.length > 0);
  return (
    <Radix.Root>
      <Radix.Trigger asChild>{trigger}</Radix.Trigger>
      <Radix.Portal>
        <Radix.Content className={styles.content} align={align} sideOffset={4} collisionPadding={8}>
          {filled.map((items, at) => (
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
          ))}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

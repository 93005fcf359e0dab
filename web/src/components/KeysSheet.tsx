import { Dialog } from "./Dialog";
import styles from "./KeysSheet.module.css";

interface Props {
  /** A key, and what it does. */
  keys: readonly (readonly [string, string])[];
  isOpen: boolean;
  onClose: () => void;
}

/** What the keyboard does in a room. */
export function KeysSheet({ keys, isOpen, onClose }: Props) {
  return (
    <Dialog isOpen={isOpen} title="Keys" onClose={onClose}>
      <dl className={styles.keys}>
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

import { Keyboard } from "lucide-react";
import { useState } from "react";

import { Button } from "@/components/Button";
import { KeysSheet } from "@/components/KeysSheet";
import { Tip } from "@/components/Tip";
import { useShortcuts } from "@/lib/shortcuts";

import styles from "./KeysHelp.module.css";

const KEYS: readonly (readonly [string, string])[] = [
  ["/", "to the search"],
  ["↓ or ↵", "in the search: to the pictures"],
  ["← → ↑ ↓", "to the picture beside, above, below"],
  ["Home End", "to the ends of the row; with Ctrl of all"],
  ["Page ↑ ↓", "a page up or down"],
  ["↵", "open it; in the viewer ← → walk, + − 0 zoom"],
  ["I", "in the viewer: details"],
  ["Space", "select it, or not"],
  ["⇧ and arrows", "select a range; ⇧ click does, too"],
  ["Ctrl A or ⌘ A", "select all that is shown"],
  ["Delete", "delete what is selected, else the one at hand"],
  ["Esc", "select nothing; close what is open"],
  ["?", "this list"],
];

/** What the keyboard does in the Library; for who has one. */
export function KeysHelp() {
  const [isOpen, setIsOpen] = useState(false);
  useShortcuts({ "?": () => setIsOpen(true) });
  return (
    <div className={styles.help}>
      <Tip text="Keys (?)">
        <Button look="ghost" size="small" aria-label="Keys" icon={<Keyboard />} onClick={() => setIsOpen(true)} />
      </Tip>
      <KeysSheet keys={KEYS} isOpen={isOpen} onClose={() => setIsOpen(false)} />
    </div>
  );
}

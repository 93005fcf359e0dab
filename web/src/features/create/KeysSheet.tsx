import { KeysSheet as Sheet } from "@/components/KeysSheet";

const KEYS: readonly [string, string][] = [
  ["/", "to the prompt"],
  ["Ctrl ↵ or ⌘ ↵", "make it, from the prompt"],
  ["↑ ↓", "in the prompt: what was asked before"],
  ["J K", "to the next result, to the one before"],
  ["O", "on a result: open it"],
  ["V", "on a result: vary it"],
  ["U", "on a result: use it as input"],
  ["← → + − 0", "in the viewer: walk, zoom, all of it"],
  ["[ ]", "in the mask: smaller and larger brush"],
  ["Esc", "close what is open"],
  ["?", "this list"],
];

/** What the keyboard does. */
export function KeysSheet({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  return <Sheet keys={KEYS} isOpen={isOpen} onClose={onClose} />;
}

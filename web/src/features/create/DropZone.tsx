import { ImageDown } from "lucide-react";
import { useEffect, useState } from "react";

import styles from "./DropZone.module.css";

/** Pictures dropped anywhere on the page, or pasted into it. */
export function DropZone({ onFile }: { onFile: (file: File) => void }) {
  const [isOver, setIsOver] = useState(false);
  useEffect(() => {
    const over = (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      setIsOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setIsOver(false);
    };
    const drop = (event: DragEvent): void => {
      setIsOver(false);
      const file = pictureIn(event.dataTransfer);
      if (!file) return;
      event.preventDefault();
      onFile(file);
    };
    const paste = (event: ClipboardEvent): void => {
      const file = pictureIn(event.clipboardData);
      if (!file) return;
      event.preventDefault();
      onFile(file);
    };
    const heard = { dragover: over, dragleave: leave, drop, paste } as Record<string, (event: never) => void>;
    const entries = Object.entries(heard) as [string, EventListener][];
    for (const [name, listen] of entries) document.addEventListener(name, listen);
    return () => {
      for (const [name, listen] of entries) document.removeEventListener(name, listen);
    };
  }, [onFile]);
  if (!isOver) return null;
  return (
    <div className={styles.over} aria-hidden>
      <ImageDown />
      <strong>Drop the picture</strong>
      <span>One that Darkroom made brings its settings back; any other is the one to start from.</span>
    </div>
  );
}

function pictureIn(data: DataTransfer | null): File | null {
  return [...(data?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}

import { Brush, Eraser, FlipHorizontal2, Redo2, Trash2, Undo2 } from "lucide-react";
import { type KeyboardEvent, useState } from "react";

import { cropOf } from "@/lib/crop";
import { type Mask, did, redo, undo } from "@/lib/mask";
import type { Size } from "@/lib/offer";
import type { Placed } from "@/lib/pictures";

import { Button } from "./Button";
import { Dialog } from "./Dialog";
import { MaskCanvas } from "./MaskCanvas";
import styles from "./MaskEditor.module.css";
import { Segmented } from "./Segmented";
import { Slider } from "./Slider";
import { Tip } from "./Tip";

interface Props {
  placed: Placed;
  size: Size;
  onMask: (mask: Mask) => void;
  onClose: () => void;
}

const GROW = 1.15;

/** Paint over what shall be made anew. */
export function MaskEditor({ placed: { source, focus, mask }, size, onMask, onClose }: Props) {
  const [isErasing, setIsErasing] = useState(false);
  const [percent, setPercent] = useState(12); // of the picture's width
  const part = cropOf(source.size, size, focus);
  const act = (change: (mask: Mask) => Mask): void => onMask(change(mask));
  const grow = (by: number): void =>
    setPercent((before) => Math.min(60, Math.max(1, Math.round(before * by + Math.sign(by - 1)))));
  const keys: Record<string, () => void> = {
    "[": () => grow(1 / GROW),
    "]": () => grow(GROW),
    e: () => setIsErasing(true),
    b: () => setIsErasing(false),
    i: () => act((before) => did(before, { kind: "invert" })),
  };
  const press = (event: KeyboardEvent): void => {
    const isCommand = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const chosen =
      isCommand && key === "z"
        ? () => act(event.shiftKey ? redo : undo)
        : isCommand && key === "y"
          ? () => act(redo)
          : isCommand
            ? undefined
            : keys[key];
    if (!chosen || (event.target instanceof HTMLInputElement && !isCommand)) return;
    event.preventDefault();
    chosen();
  };
  return (
    <Dialog isOpen isWide title="Paint a part anew" onClose={onClose}>
      {/* eslint-disable-next-line jsx-a11y/no-static-element-interactions -- keys of the sheet, from wherever the focus is */}
      <div className={styles.editor} onKeyDown={press}>
        <MaskCanvas
          source={source}
          part={part}
          size={size}
          mask={mask}
          isErasing={isErasing}
          brush={(percent / 100) * part.width}
          onDeed={(deed) => act((before) => did(before, deed))}
        />
        <div className={styles.tools}>
          <Segmented
            label="Tool"
            value={isErasing ? "erase" : "paint"}
            options={[
              { value: "paint", label: <Tool icon={<Brush />} name="Paint" />, title: "Paint (B)" },
              { value: "erase", label: <Tool icon={<Eraser />} name="Erase" />, title: "Erase (E)" },
            ]}
            onChange={(tool) => setIsErasing(tool === "erase")}
          />
          <div className={styles.size}>
            <span>Brush</span>
            <Slider
              label="Brush size, in percent of the width"
              value={percent}
              min={1}
              max={60}
              step={1}
              onChange={setPercent}
            />
          </div>
          <div className={styles.deeds}>
            <Deed name="Undo (Ctrl Z)" icon={<Undo2 />} isOff={!mask.done.length} onAct={() => act(undo)} />
            <Deed name="Redo (Ctrl Shift Z)" icon={<Redo2 />} isOff={!mask.undone.length} onAct={() => act(redo)} />
            <Deed name="Invert (I)" icon={<FlipHorizontal2 />} onAct={keys.i} />
            <Deed
              name="Clear"
              icon={<Trash2 />}
              isOff={!mask.done.length}
              onAct={() => act((before) => did(before, { kind: "clear" }))}
            />
          </div>
          <p className={styles.hint}>
            What is hatched is painted anew; the rest passes through the model and stays nearly as it is. [ and ] change
            the brush. With the keyboard: arrows move it over the picture, Space paints.
          </p>
          <Button look="main" className={styles.done} onClick={onClose}>
            Done
          </Button>
        </div>
      </div>
    </Dialog>
  );
}

function Tool({ icon, name }: { icon: React.ReactNode; name: string }) {
  return (
    <span className={styles.tool}>
      {icon}
      {name}
    </span>
  );
}

interface DeedProps {
  name: string;
  icon: React.ReactNode;
  isOff?: boolean;
  onAct: (() => void) | undefined;
}

function Deed({ name, icon, isOff = false, onAct }: DeedProps) {
  return (
    <Tip text={name}>
      <Button aria-label={name} icon={icon} disabled={isOff} onClick={onAct} />
    </Tip>
  );
}

import { Keyboard } from "lucide-react";
import { useCallback, useDeferredValue, useRef, useState } from "react";

import { Button } from "@/components/Button";
import { Fault, Waiting } from "@/components/Notice";
import { Tip } from "@/components/Tip";
import type { Artifact } from "@/lib/api/client";

import { Composer } from "./Composer";
import styles from "./CreateRoom.module.css";
import { DropZone } from "./DropZone";
import { KeysSheet } from "./KeysSheet";
import { take } from "./making";
import { useDeeds, useKeys, useOffer, useTakenUp } from "./room";
import { Stage } from "./Stage";
import { Viewer } from "./Viewer";

/** The room where pictures are made: the composer, and all that was asked for, live. */
export function CreateRoom() {
  const { offer, models, problem } = useOffer();
  const isOffered = useDeferredValue(offer !== null); // its many fields are drawn in small parts, which yield to input
  const [open, setOpen] = useState<string | null>(null);
  const [isHelping, setIsHelping] = useState(false);
  const box = useRef<HTMLTextAreaElement>(null);
  const deeds = useDeeds(offer, box);
  const dropped = useCallback((file: File) => void take(file, file.name, offer), [offer]);
  const show = useCallback((output: Artifact) => setOpen(output.artifact_id), []);
  useTakenUp(deeds, offer);
  useKeys({ box, deeds, onOpen: setOpen, onHelp: () => setIsHelping(true) });
  return (
    <div className={styles.room}>
      <h1 className="hidden-visually">Create</h1>
      <div className={styles.composer}>
        {offer && isOffered ? (
          <Composer offer={offer} models={models} box={box} />
        ) : problem ? (
          <Fault error={problem} />
        ) : (
          <Waiting label="Asking which models there are" height="24rem" />
        )}
      </div>
      <div className={styles.stage}>
        <Stage deeds={deeds} onOpen={show} />
      </div>
      <div className={styles.help}>
        <Tip text="Keys (?)">
          <Button look="ghost" aria-label="Keys" icon={<Keyboard />} onClick={() => setIsHelping(true)} />
        </Tip>
      </div>
      {open ? <Viewer open={open} deeds={deeds} onOpen={setOpen} /> : null}
      <DropZone onFile={dropped} />
      <KeysSheet isOpen={isHelping} onClose={() => setIsHelping(false)} />
    </div>
  );
}

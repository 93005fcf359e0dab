import { Braces, Download, FolderOpen, Keyboard, Link, Plus, Share2, Trash2 } from "lucide-react";
import { useState } from "react";

import { Button } from "@/components/Button";
import { Dialog } from "@/components/Dialog";
import { Menu } from "@/components/Menu";
import { Tip } from "@/components/Tip";
import { ago } from "@/lib/format";

import { clear, useDesk } from "./desk";
import { openLink } from "./linked";
import styles from "./RoomHead.module.css";
import { forget, useSaved } from "./saved";
import { copyAddress, copySettings, exportGrid } from "./sharing";
import type { Spot } from "./standing";

/** The room's name, grids made before, and ways to take this one elsewhere. */
export function RoomHead({ spots, onHelp }: { spots: readonly Spot[]; onHelp: () => void }) {
  const [isOpening, setIsOpening] = useState(false);
  const { plan, jobs } = useDesk();
  const isFromPictures = plan.settings.start !== null || plan.settings.control !== null;
  const isMade = spots.some(({ status }) => status === "done");
  const saved = useSaved(({ grids }) => grids);
  return (
    <header className={styles.head}>
      <h1>Compare</h1>
      <div className={styles.actions}>
        <Button
          look="ghost"
          icon={<FolderOpen />}
          disabled={saved.length === 0}
          aria-label="Saved grids"
          onClick={() => setIsOpening(true)}
        >
          <span className={styles.word}>Saved grids</span>
        </Button>
        <Menu
          trigger={
            <Button look="ghost" icon={<Share2 />} disabled={!isMade} aria-label="Share">
              <span className={styles.word}>Share</span>
            </Button>
          }
          groups={[
            [
              {
                label: "Copy its address",
                note: isFromPictures
                  ? "opens what was made; the picture that it is made from is not in it"
                  : "opens the same grid, and makes nothing again",
                icon: <Link />,
                onSelect: () => void copyAddress(plan.settings),
              },
              {
                label: "Save as a picture",
                icon: <Download />,
                onSelect: () =>
                  void exportGrid(
                    plan,
                    spots.map(({ job }) => job),
                  ),
              },
              {
                label: "Copy settings as JSON",
                icon: <Braces />,
                onSelect: () => void copySettings(plan, jobs),
              },
            ],
          ]}
        />
        <Button look="ghost" icon={<Plus />} aria-label="New grid" onClick={clear}>
          <span className={styles.word}>New grid</span>
        </Button>
        <Tip text="Keys (?)">
          <Button look="ghost" className={styles.keys} aria-label="Keys" icon={<Keyboard />} onClick={onHelp} />
        </Tip>
      </div>
      <SavedGrids isOpen={isOpening && saved.length > 0} onClose={() => setIsOpening(false)} />
    </header>
  );
}

function SavedGrids({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const grids = useSaved((state) => state.grids);
  return (
    <Dialog
      isOpen={isOpen}
      title="Saved grids"
      description="Grids that were made in this browser. Their pictures are on the server."
      onClose={onClose}
    >
      <ul className={styles.saved}>
        {grids.map(({ id, title, note, at, link }) => (
          <li key={id}>
            <button
              type="button"
              onClick={() => {
                openLink(link);
                onClose();
              }}
            >
              <span>{title}</span>
              <small>
                {note}
                {note ? ", " : ""}
                {ago(at)}
              </small>
            </button>
            <Button look="ghost" aria-label={`Forget ${title}`} icon={<Trash2 />} onClick={() => forget(id)} />
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

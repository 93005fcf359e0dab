import { useEffect, useMemo, useState } from "react";

import { Confirm } from "@/components/Dialog";
import { useShortcuts } from "@/lib/shortcuts";

import { deleteAll, packAll, questionOf, useWork } from "./bulk";
import { Grid } from "./Grid";
import type { Piece } from "./made";
import { all, less } from "./selection";
import { clear, select, useSelected } from "./selected";
import { SelectionBar } from "./SelectionBar";
import { Viewer } from "./Viewer";

/** The pictures that were asked for, and what can be done with them, one or many. */
export function Browser({ pieces }: { pieces: readonly Piece[] }) {
  const { selection, isSelecting } = useSelected();
  const [active, setActive] = useState<string | null>(null);
  const [open, setOpen] = useState<string | null>(null);
  const [doomed, setDoomed] = useState<readonly Piece[]>([]);
  const isWorking = useWork(({ work }) => work !== null);
  // Only what is shown: nobody deletes what they do not see.
  const selected = useMemo(() => pieces.filter(({ id }) => selection.ids.has(id)), [pieces, selection]);
  const question = questionOf(doomed);
  const askDelete = (few: readonly Piece[]): void => {
    if (!isWorking && few.length > 0) setDoomed(few);
  };
  const onDelete = (at: Piece | undefined): void => askDelete(selected.length > 0 ? selected : at ? [at] : []);
  useEffect(() => clear, []);
  useSelectAll(pieces);
  useShortcuts({
    Escape: clear,
    Delete: () => askDelete(selected),
    Backspace: () => askDelete(selected),
  });
  return (
    <>
      <Grid
        pieces={pieces}
        selection={selection}
        isSelecting={isSelecting || selected.length > 0}
        active={active}
        isCovered={open !== null}
        onActive={setActive}
        onOpen={setOpen}
        onDelete={onDelete}
      />
      <SelectionBar
        selected={selected}
        isSelecting={isSelecting}
        onAll={() => select(() => all(pieces.map(({ id }) => id)))}
        onSave={() => void packAll(selected)}
        onDelete={() => askDelete(selected)}
      />
      {open ? (
        <Viewer
          pieces={pieces}
          open={open}
          onOpen={(id) => {
            setOpen(id);
            if (id) setActive(id);
          }}
          onDelete={(piece) => askDelete([piece])}
        />
      ) : null}
      <Confirm
        isOpen={doomed.length > 0}
        title={question.title}
        description={question.description}
        action="Delete"
        onConfirm={() => {
          setOpen((shown) => afterDeletion(pieces, doomed, shown));
          void deleteAll(doomed, (gone) => select((before) => less(before, gone)));
        }}
        onClose={() => setDoomed([])}
      />
    </>
  );
}

/** Which picture is looked at when some are gone: the next that stays, else the one before. */
function afterDeletion(pieces: readonly Piece[], doomed: readonly Piece[], shown: string | null): string | null {
  const at = pieces.findIndex(({ id }) => id === shown);
  const jobs = new Set(doomed.map(({ made }) => made.id));
  if (at < 0 || !jobs.has(pieces[at]?.made.id ?? "")) return shown;
  const stays = ({ made }: Piece): boolean => !jobs.has(made.id);
  return (pieces.slice(at).find(stays) ?? pieces.slice(0, at).findLast(stays))?.id ?? null;
}

/** Ctrl or Cmd and A, wherever nothing is being written. */
function useSelectAll(pieces: readonly Piece[]): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "a" || event.shiftKey) return;
      const isElsewhere = event.target instanceof Element && event.target.closest("input, textarea, select");
      if (isElsewhere || document.querySelector("[role=dialog], [role=menu]")) return;
      event.preventDefault();
      select(() => all(pieces.map(({ id }) => id)));
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [pieces]);
}

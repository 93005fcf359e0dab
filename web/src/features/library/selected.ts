/** What is selected, for the grid, its bar and the toolbar. */

import { create } from "zustand";

import { NONE, type Selection } from "./selection";

interface Selected {
  selection: Selection;
  /** A tap selects, too: for hands without modifier keys. */
  isSelecting: boolean;
}

export const useSelected = create<Selected>(() => ({ selection: NONE, isSelecting: false }));

export const select = (change: (selection: Selection) => Selection): void =>
  useSelected.setState(({ selection }) => ({ selection: change(selection) }));

export const clear = (): void => useSelected.setState({ selection: NONE, isSelecting: false });

export const startSelecting = (): void => useSelected.setState({ isSelecting: true });

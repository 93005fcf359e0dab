import { type MouseEvent, memo } from "react";

import { Picture } from "@/components/Picture";

import type { Piece } from "./made";
import { refresh } from "./shelf";
import styles from "./Tile.module.css";

interface Props {
  piece: Piece;
  column: number;
  width: number;
  height: number;
  isSelected: boolean;
  /** The one that the keyboard is at. */
  isActive: boolean;
  onPress: (piece: Piece, event: MouseEvent) => void;
  onFocus: (piece: Piece) => void;
}

/** One picture of the grid. */
export const Tile = memo(function Tile({
  piece,
  column,
  width,
  height,
  isSelected,
  isActive,
  onPress,
  onFocus,
}: Props) {
  return (
    // The keyboard's part is the grid's: it knows what lies beside.
    // eslint-disable-next-line jsx-a11y/click-events-have-key-events
    <div
      role="gridcell"
      aria-colindex={column}
      aria-selected={isSelected}
      tabIndex={isActive ? 0 : -1}
      className={styles.tile}
      style={{ width, height }}
      data-piece={piece.id}
      onClick={(event) => onPress(piece, event)}
      onFocus={() => onFocus(piece)}
    >
      <Picture
        src={piece.url}
        type={piece.type}
        alt={`${piece.made.prompt}, seed ${piece.seed}`}
        width={width}
        height={height}
        isLazy={false}
        onBroken={() => void refresh(piece.made.id)}
      />
      <span className={styles.check} data-check aria-hidden />
    </div>
  );
});

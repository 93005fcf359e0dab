import { Brush, ImagePlus } from "lucide-react";
import { useState } from "react";

import { isDrawn } from "@/lib/mask";
import type { Offer, Size } from "@/lib/offer";
import type { Placed } from "@/lib/pictures";

import { Button } from "./Button";
import { MaskEditor } from "./MaskEditor";
import { PictureField } from "./PictureField";

interface Props {
  offer: Offer;
  placed: Placed | null;
  size: Size;
  strength: number;
  /** Not where strengths are told elsewhere. */
  hasStrength?: boolean;
  fault?: string | undefined;
  strengthFault?: string | undefined;
  onFile: (file: File) => void;
  onChange: (placed: Placed | null) => void;
  onStrength: (strength: number) => void;
}

/** A picture to start from, how far to leave it, and what of it to paint anew. */
export function StartPicture({
  offer,
  placed,
  size,
  strength,
  hasStrength = true,
  fault,
  strengthFault,
  onStrength,
  ...acts
}: Props) {
  const [isMasking, setIsMasking] = useState(false);
  const isMasked = placed !== null && isDrawn(placed.mask);
  const hint = isMasked
    ? "How much the painted part changes."
    : "How far to leave the picture: 0 keeps it, 1 forgets it.";
  return (
    <>
      <PictureField
        name="picture"
        label="Picture to start from"
        icon={<ImagePlus />}
        invitation="Start from a picture"
        placed={placed}
        size={size}
        fault={fault}
        amount={
          hasStrength ? { label: "Strength", value: strength, range: offer.strength, hint, fault: strengthFault } : null
        }
        tools={
          offer.takesMask ? (
            <Button size="small" icon={<Brush />} onClick={() => setIsMasking(true)}>
              {isMasked ? "Change the mask" : "Paint a part anew"}
            </Button>
          ) : null
        }
        onAmount={onStrength}
        {...acts}
      />
      {placed && isMasking ? (
        <MaskEditor
          placed={placed}
          size={size}
          onMask={(mask) => acts.onChange({ ...placed, mask })}
          onClose={() => setIsMasking(false)}
        />
      ) : null}
    </>
  );
}

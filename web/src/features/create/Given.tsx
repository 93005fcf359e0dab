import { toast } from "sonner";

import { ControlPicture } from "@/components/ControlPicture";
import { ImagePrompt } from "@/components/ImagePrompt";
import { StartPicture } from "@/components/StartPicture";
import { hasMargins, isThere } from "@/lib/margins";
import { isDrawn } from "@/lib/mask";
import type { Offer } from "@/lib/offer";
import { type Placed, placedAs, sourceOf } from "@/lib/pictures";

import { change, followPicture, promptWith, startFrom, useDesk } from "./desk";
import { marginsShown, sizeOf, startSizeOf } from "./draft";
import { take } from "./making";
import { MarginFields } from "./MarginFields";

/** The pictures that the model is given, as far as it takes some. */
export function Given({ offer }: { offer: Offer }) {
  const { draft, start, control, imagePrompt, faults } = useDesk();
  const size = sizeOf(draft, offer);
  const isMasked = start !== null && isDrawn(start.mask);
  const startSize = startSizeOf(draft, offer, isMasked);
  const isWidened = hasMargins(marginsShown(draft, offer, isMasked));
  return (
    <>
      {offer.takesImage ? (
        <StartPicture
          offer={isWidened ? { ...offer, takesMask: false } : offer}
          placed={start}
          size={isThere(startSize) ? startSize : size}
          strength={draft.strength}
          fault={faults.image ?? faults.mask_image}
          strengthFault={faults.strength}
          onFile={(file) => void take(file, file.name, offer)}
          onChange={(placed) => startFrom(placed, offer)}
          onStrength={(strength) => change({ strength })}
        />
      ) : null}
      {offer.takesImage && offer.widestMargin !== null && start && !isMasked ? (
        <MarginFields offer={offer} widest={offer.widestMargin} />
      ) : null}
      {offer.controlScale ? (
        <ControlPicture
          placed={control}
          size={size}
          scale={draft.controlScale}
          range={offer.controlScale}
          fault={faults.control_image}
          scaleFault={faults.controlnet_conditioning_scale}
          onFile={(file) => read(file, followPicture)}
          onChange={followPicture}
          onScale={(controlScale) => change({ controlScale })}
        />
      ) : null}
      {offer.imagePromptScale ? (
        <ImagePrompt
          placed={imagePrompt}
          scale={draft.imagePromptScale}
          range={offer.imagePromptScale}
          fault={faults.ip_adapter_image}
          scaleFault={faults.ip_adapter_scale}
          onFile={(file) => read(file, promptWith)}
          onChange={promptWith}
          onScale={(imagePromptScale) => change({ imagePromptScale })}
        />
      ) : null}
    </>
  );
}

function read(file: File, place: (placed: Placed) => void): void {
  sourceOf(file, file.name).then(
    (source) => place(placedAs(source)),
    (error: Error) => toast.error(error.message),
  );
}

import { toast } from "sonner";

import { ControlPicture } from "@/components/ControlPicture";
import { StartPicture } from "@/components/StartPicture";
import type { Offer } from "@/lib/offer";
import { placedAs, sourceOf } from "@/lib/pictures";

import { change, followPicture, startFrom, useDesk } from "./desk";
import { sizeOf } from "./draft";
import { take } from "./making";

/** The pictures that the model is given, as far as it takes some. */
export function Given({ offer }: { offer: Offer }) {
  const { draft, start, control, faults } = useDesk();
  const size = sizeOf(draft, offer);
  const follow = (file: File): void => {
    sourceOf(file, file.name).then(
      (source) => followPicture(placedAs(source)),
      (error: Error) => toast.error(error.message),
    );
  };
  return (
    <>
      {offer.takesImage ? (
        <StartPicture
          offer={offer}
          placed={start}
          size={size}
          strength={draft.strength}
          fault={faults.image ?? faults.mask_image}
          strengthFault={faults.strength}
          onFile={(file) => void take(file, file.name, offer)}
          onChange={(placed) => startFrom(placed, offer)}
          onStrength={(strength) => change({ strength })}
        />
      ) : null}
      {offer.controlScale ? (
        <ControlPicture
          placed={control}
          size={size}
          scale={draft.controlScale}
          range={offer.controlScale}
          fault={faults.control_image}
          scaleFault={faults.controlnet_conditioning_scale}
          onFile={follow}
          onChange={followPicture}
          onScale={(controlScale) => change({ controlScale })}
        />
      ) : null}
    </>
  );
}

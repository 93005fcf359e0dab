import { toast } from "sonner";

import { ControlPicture } from "@/components/ControlPicture";
import { StartPicture } from "@/components/StartPicture";
import type { Offer } from "@/lib/offer";
import { type Source, placedAs, sourceOf } from "@/lib/pictures";

import { changeSettings, followPicture, startFrom, useDesk } from "./desk";
import { atHand } from "./given";
import { isVaried, shownSize } from "./grid";

/** The pictures that all cells are made from. */
export function Given({ offer }: { offer: Offer }) {
  const plan = useDesk((desk) => desk.plan);
  const given = useDesk((desk) => desk.given);
  const { start, control } = plan.settings;
  const here = atHand(plan.settings, given);
  const size = shownSize(plan, offer.defaultSize);
  const take = (act: (source: Source) => void) => (file: File) => {
    sourceOf(file, file.name).then(act, (error: Error) => toast.error(error.message));
  };
  return (
    <>
      {offer.takesImage || start ? (
        <StartPicture
          offer={offer}
          placed={here.start}
          size={size}
          strength={start?.strength ?? 0}
          hasStrength={!isVaried(plan, "strength")}
          onFile={take((source) => startFrom(placedAs(source), offer))}
          onChange={(placed) => startFrom(placed, offer)}
          onStrength={(strength) => start && changeSettings({ start: { ...start, strength } })}
        />
      ) : null}
      {offer.controlScale ? (
        <ControlPicture
          placed={here.control}
          size={size}
          scale={control?.scale ?? 1}
          range={offer.controlScale}
          onFile={take((source) => followPicture(placedAs(source)))}
          onChange={followPicture}
          onScale={(scale) => control && changeSettings({ control: { ...control, scale } })}
        />
      ) : null}
    </>
  );
}

import { Spline, Trash2, Upload } from "lucide-react";
import { toast } from "sonner";

import { Button } from "@/components/Button";
import { Field } from "@/components/Field";
import { Slider } from "@/components/Slider";
import type { Offer, Range } from "@/lib/offer";

import { CropFrame } from "./CropFrame";
import { change, followPicture, useDesk } from "./desk";
import { sizeOf } from "./draft";
import { sourceOf } from "./pictures";
import { PictureChoice } from "./StartPicture";
import styles from "./StartPicture.module.css";

/** A picture whose lines are followed, and how closely; where the model has a ControlNet. */
export function ControlPicture({ offer, range }: { offer: Offer; range: Range }) {
  const control = useDesk((desk) => desk.control);
  const draft = useDesk((desk) => desk.draft);
  const focus = useDesk((desk) => desk.controlFocus);
  const faults = useDesk((desk) => desk.faults);
  const follow = (file: File): void => {
    sourceOf(file, file.name).then(followPicture, (error: Error) => toast.error(error.message));
  };
  if (!control) {
    return (
      <PictureChoice icon={<Spline />} onFile={follow}>
        Follow a control image
      </PictureChoice>
    );
  }
  return (
    <section className={styles.picture} aria-label="Control image">
      <CropFrame
        source={control}
        size={sizeOf(draft, offer)}
        focus={focus}
        onFocus={(to) => useDesk.setState({ controlFocus: to })}
      />
      <div className={styles.row}>
        <span className={styles.space} />
        <PictureChoice icon={<Upload />} label="Another control image" onFile={follow} />
        <Button
          look="ghost"
          size="small"
          aria-label="Without the control image"
          icon={<Trash2 />}
          onClick={() => followPicture(null)}
        />
      </div>
      {faults.control_image ? (
        <p className={styles.fault} role="alert">
          {faults.control_image}
        </p>
      ) : null}
      <Field label="Control scale" error={faults.controlnet_conditioning_scale} hint="How closely it is followed.">
        {({ id, describedBy }) => (
          <Slider
            id={id}
            label="Control scale"
            value={draft.controlScale}
            {...range}
            step={0.05}
            describedBy={describedBy}
            onChange={(controlScale) => change({ controlScale })}
          />
        )}
      </Field>
    </section>
  );
}

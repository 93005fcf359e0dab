import { Spline } from "lucide-react";

import type { Range, Size } from "@/lib/offer";
import type { Placed } from "@/lib/pictures";

import { PictureField } from "./PictureField";

interface Props {
  placed: Placed | null;
  size: Size;
  scale: number;
  range: Range;
  fault?: string | undefined;
  scaleFault?: string | undefined;
  onFile: (file: File) => void;
  onChange: (placed: Placed | null) => void;
  onScale: (scale: number) => void;
}

/** A picture whose lines are followed, and how closely; where the model has a ControlNet. */
export function ControlPicture({ scale, range, scaleFault, onScale, ...rest }: Props) {
  return (
    <PictureField
      name="control image"
      label="Control image"
      icon={<Spline />}
      invitation="Follow a control image"
      amount={{ label: "Control scale", value: scale, range, hint: "How closely it is followed.", fault: scaleFault }}
      onAmount={onScale}
      {...rest}
    />
  );
}

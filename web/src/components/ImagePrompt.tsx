import { Eye } from "lucide-react";

import type { Range } from "@/lib/offer";
import { type Placed, promptSize } from "@/lib/pictures";

import { PictureField } from "./PictureField";

interface Props {
  placed: Placed | null;
  scale: number;
  range: Range;
  fault?: string | undefined;
  scaleFault?: string | undefined;
  onFile: (file: File) => void;
  onChange: (placed: Placed | null) => void;
  onScale: (scale: number) => void;
}

/** A picture that prompts beside the words, whole, and how much it counts; where the model has an IP-Adapter. */
export function ImagePrompt({ placed, scale, range, scaleFault, onScale, ...rest }: Props) {
  return (
    <PictureField
      name="image prompt"
      label="Image prompt"
      icon={<Eye />}
      invitation="Prompt with a picture"
      placed={placed}
      size={placed ? promptSize(placed.source.size) : [1, 1]}
      amount={{ label: "Image prompt scale", value: scale, range, hint: "How much it counts.", fault: scaleFault }}
      onAmount={onScale}
      {...rest}
    />
  );
}

import { FieldFault } from "@/components/Field";
import { Minus, Plus } from "lucide-react";

import { Button } from "@/components/Button";
import type { Range } from "@/lib/offer";

import styles from "./ImageCount.module.css";
import { change, useDesk } from "./desk";

/** How many pictures, videos or sounds one job makes; image k has the seed plus k. */
export function ImageCount({ range, noun }: { range: Range; noun: string }) {
  const images = useDesk((desk) => desk.draft.images);
  const fault = useDesk((desk) => desk.faults.num_images_per_prompt);
  const take = (count: number): void => change({ images: Math.min(range.max, Math.max(range.min, count)) });
  return (
    <div>
      <div className={styles.count} role="group" aria-label={`Number of ${noun}s`}>
        <Button
          look="ghost"
          size="small"
          aria-label={`One ${noun} less`}
          icon={<Minus />}
          disabled={images <= range.min}
          onClick={() => take(images - 1)}
        />
        <span className="numbers" role="status">
          {images} {images === 1 ? noun : `${noun}s`}
        </span>
        <Button
          look="ghost"
          size="small"
          aria-label={`One ${noun} more`}
          icon={<Plus />}
          disabled={images >= range.max}
          onClick={() => take(images + 1)}
        />
      </div>
      <FieldFault>{fault}</FieldFault>
    </div>
  );
}

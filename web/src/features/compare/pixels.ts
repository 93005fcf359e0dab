/** Pictures as numbers, to be compared. */

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { type Artifact, bytesOf } from "@/lib/api/client";

import { type Difference, type Pixels, differenceOf } from "./difference";

type Picture = Pick<Artifact, "artifact_id" | "url" | "width" | "height">;

export interface Compared extends Omit<Difference, "data"> {
  /** The difference as a picture. */
  src: string;
  width: number;
  height: number;
}

/** How two pictures differ; the second is scaled to the size of the first where they differ in that. */
export function useDifference(one: Picture | undefined, other: Picture | undefined, gain: number) {
  const size = { width: one?.width ?? 1, height: one?.height ?? 1 };
  const first = usePixels(one, size);
  const second = usePixels(other, size);
  const compared = useMemo((): Compared | null => {
    if (!first.data || !second.data) return null;
    const { data, ...numbers } = differenceOf(first.data, second.data, gain);
    const { width, height } = first.data;
    return { ...numbers, width, height, src: pictureOf(new ImageData(data, width, height)) };
  }, [first.data, second.data, gain]);
  return { compared, error: first.error ?? second.error };
}

function usePixels(picture: Picture | undefined, size: { width: number; height: number }) {
  return useQuery({
    queryKey: ["pixels", picture?.artifact_id, size.width, size.height],
    queryFn: () => (picture ? pixelsOf(picture, size) : Promise.reject(new Error("no picture"))),
    enabled: picture !== undefined,
    staleTime: Infinity,
    gcTime: 60_000,
    structuralSharing: false,
  });
}

async function pixelsOf(picture: Picture, { width, height }: { width: number; height: number }): Promise<Pixels> {
  const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" } as const;
  const bitmap = await createImageBitmap(await bytesOf(picture), exact);
  const pen = penOf(width, height);
  pen.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return pen.getImageData(0, 0, width, height);
}

function pictureOf(data: ImageData): string {
  const pen = penOf(data.width, data.height);
  pen.putImageData(data, 0, 0);
  return pen.canvas.toDataURL();
}

function penOf(width: number, height: number): CanvasRenderingContext2D {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("This browser cannot draw.");
  return pen;
}

/** What the stage keeps of itself while one is elsewhere. */

import { create } from "zustand";

import type { Job } from "@/lib/api/client";
import { keys, queryClient } from "@/lib/api/queries";

interface Standing {
  /** Cells of Compare's grids are jobs like any others; they stand there only where somebody asks for them. */
  isWithGrids: boolean;
  /** All that is listed has been drawn before. */
  wasDrawn: boolean;
}

export const useStage = create<Standing>(() => ({ isWithGrids: false, wasDrawn: false }));

export const isOfGrid = (id: string): boolean =>
  typeof queryClient.getQueryData<Job>(keys.job(id))?.metadata.grid === "string";

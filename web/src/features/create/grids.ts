/** Cells of Compare's grids are jobs like any others; they stand on the stage only where somebody asks for them. */

import { create } from "zustand";

import type { Job } from "@/lib/api/client";
import { keys, queryClient } from "@/lib/api/queries";

export const useStage = create<{ isWithGrids: boolean }>(() => ({ isWithGrids: false }));

export const isOfGrid = (id: string): boolean =>
  typeof queryClient.getQueryData<Job>(keys.job(id))?.metadata.grid === "string";

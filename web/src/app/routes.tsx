import { createBrowserRouter } from "react-router";

import { Waiting } from "@/components/Notice";
import { askAhead } from "@/lib/api/queries";

import { Crashed, NotHere, Shell } from "./Shell";

/** Each room is fetched when it is first entered. */
export const router = createBrowserRouter(
  [
    {
      path: "/",
      Component: Shell,
      ErrorBoundary: Crashed,
      HydrateFallback: Waiting,
      children: [
        {
          index: true,
          loader: askAhead,
          lazy: async () => ({ Component: (await import("@/features/create/CreateRoom")).CreateRoom }),
        },
        {
          path: "compare",
          lazy: async () => ({ Component: (await import("@/features/compare/CompareRoom")).CompareRoom }),
        },
        {
          path: "library",
          lazy: async () => ({ Component: (await import("@/features/library/LibraryRoom")).LibraryRoom }),
        },
        { path: "fleet", lazy: async () => ({ Component: (await import("@/features/fleet/FleetRoom")).FleetRoom }) },
        { path: "*", Component: NotHere },
      ],
    },
  ],
  { basename: import.meta.env.BASE_URL.replace(/\/$/, "") || "/" },
);

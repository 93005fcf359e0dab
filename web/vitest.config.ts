import { defineConfig, mergeConfig } from "vitest/config";

import vite from "./vite.config";

/** Apart from what builds the site, which is done where no package for tests is installed. */
export default mergeConfig(
  vite,
  defineConfig({
    test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"], setupFiles: ["src/test-setup.ts"] },
  }),
);

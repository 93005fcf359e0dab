import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const gateway = process.env.DARKROOM_URL ?? "http://127.0.0.1:8188";

/** `VITE_GATEWAY_URL` builds a site for another origin; there it usually lies at the root: `VITE_BASE=/`. */
export default defineConfig({
  base: process.env.VITE_BASE ?? "/ui/",
  plugins: [react()],
  resolve: { alias: { "@": new URL("./src", import.meta.url).pathname } },
  build: {
    outDir: process.env.VITE_OUT ?? "../src/darkroom/gateway/static",
    emptyOutDir: true,
    target: "es2022",
  },
  server: { proxy: { "/v1": { target: gateway, ws: true, changeOrigin: true }, "/auth": gateway } },
  test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"], setupFiles: ["src/test-setup.ts"] },
});

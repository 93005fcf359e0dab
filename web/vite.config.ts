import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

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
    cssTarget: ["chrome123", "firefox120", "safari17.5"], // the first with light-dark()
  },
  server: { proxy: { "/v1": { target: gateway, ws: true, changeOrigin: true }, "/auth": gateway } },
});

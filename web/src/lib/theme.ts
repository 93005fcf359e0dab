/** Dark, light, or as the system has it; `public/theme.js` reads the same before the first paint. */

import { create } from "zustand";

export type Theme = "system" | "light" | "dark";
const NAME = "darkroom.theme";

export const useTheme = create<{ theme: Theme; choose: (theme: Theme) => void }>((set) => ({
  theme: chosen(),
  choose(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      if (theme === "system") localStorage.removeItem(NAME);
      else localStorage.setItem(NAME, theme);
    } catch {
      // no storage here: it holds for this page
    }
    set({ theme });
  },
}));

function chosen(): Theme {
  const said = document.documentElement.dataset.theme;
  return said === "dark" || said === "light" ? said : "system";
}

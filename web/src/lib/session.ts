/** Who is at the keyboard: a key that the user entered, kept in this browser where they ask for it. */

import { create } from "zustand";

const NAME = "darkroom.key";
/** In the address where a sign-in failed: what went wrong. */
export const REFUSED = "refused";

interface Session {
  key: string | null;
  /** The gateway asked for a key, or refused the one we have. */
  isRefused: boolean;
  enter: (key: string, isKept: boolean) => void;
  leave: () => void;
  /** The key that is kept here opens nothing: the next page of this browser shall not show it. */
  forget: () => void;
  refuse: () => void;
}

const kept = stored();

export const useSession = create<Session>((set) => ({
  key: kept,
  // Anybody can write an address: whether a key that is kept still opens something, the gateway alone says.
  isRefused: kept === null && new URLSearchParams(window.location.search).has(REFUSED),
  enter(key, isKept) {
    keep(key, isKept);
    set({ key, isRefused: false });
  },
  leave() {
    keep(null, false);
    set({ key: null, isRefused: false });
  },
  forget() {
    keep(null, false);
  },
  refuse() {
    set({ isRefused: true });
  },
}));

function stored(): string | null {
  try {
    return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
  } catch {
    return null; // no storage here: the key lives as long as the page
  }
}

function keep(key: string | null, isKept: boolean): void {
  try {
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
    if (key) (isKept ? localStorage : sessionStorage).setItem(NAME, key);
  } catch {
    // as above
  }
}

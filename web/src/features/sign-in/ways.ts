/** The ways into this gateway beside a key, and out of it again. */

import { GATEWAY, type Schemas, api, dataOf } from "@/lib/api/client";
import { queryClient } from "@/lib/api/queries";
import { forgetToken } from "@/lib/api/token";
import { useLive } from "@/lib/live";
import { useSession } from "@/lib/session";

export type Me = Schemas["Me"];
export type Usage = Awaited<ReturnType<typeof usageNow>>;

export interface Ways {
  /** Who one is without a key: a guest, or a person whose sign-in this browser remembers. */
  withoutKey: Me | null;
  /** Whether people sign in with an issuer here, and where that begins. */
  login: string | null;
}

const BACK = new URL(import.meta.env.BASE_URL, window.location.href).pathname;

/** What the gateway offers to whoever has no key; what it does not tell counts as not there. */
export async function waysIn(): Promise<Ways> {
  const [withoutKey, login] = await Promise.all([meWithout(), loginHere()]);
  return { withoutKey, login };
}

async function meWithout(): Promise<Me | null> {
  const answer = await fetch(`${GATEWAY}/auth/me`, { credentials: "include" }).catch(() => null);
  return answer?.ok ? ((await answer.json()) as Me) : null;
}

/** Only pages of the gateway's own origin get its cookies. It sends on to the issuer, or says 404 where it has none. */
async function loginHere(): Promise<string | null> {
  if (new URL(GATEWAY).origin !== window.location.origin) return null;
  const url = `${GATEWAY}/auth/login?next=${encodeURIComponent(BACK)}`;
  const answer = await fetch(url, { redirect: "manual" }).catch(() => null);
  return answer?.type === "opaqueredirect" ? url : null;
}

export const usageNow = () => dataOf(api.GET("/v1/usage"));

/** Forget what the one before saw, and ask anew for what is shown. */
export function startOver(): void {
  forgetToken();
  useLive.setState({ words: {} });
  queryClient.removeQueries({ type: "inactive" });
  void queryClient.resetQueries();
}

/** The key is forgotten here, and the cookie of a sign-in too. */
export async function signOut(me: Me | undefined): Promise<void> {
  if (me?.email && !me.key_id) await api.POST("/auth/logout").catch(() => undefined);
  useSession.getState().leave();
  startOver();
}

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
  /** What people know the issuer by that they sign in with here; null where they do not. */
  issuer: string | null;
}

const FIRST_PAGE = new URL(import.meta.env.BASE_URL, window.location.href).pathname;
const LONGEST = 512; // of a page to come back to, as the gateway takes it

/** What the gateway offers to whoever has no key; what it does not tell counts as not there. */
export async function waysIn(): Promise<Ways> {
  const [withoutKey, issuer] = await Promise.all([meWithout(), issuerHere()]);
  return { withoutKey, issuer };
}

async function meWithout(): Promise<Me | null> {
  const answer = await fetch(`${GATEWAY}/auth/me`, { credentials: "include" }).catch(() => null);
  return answer?.ok ? ((await answer.json()) as Me) : null;
}

/** Only pages of the gateway's own origin get its cookies. */
async function issuerHere(): Promise<string | null> {
  if (new URL(GATEWAY).origin !== window.location.origin) return null;
  const answer = await fetch(`${GATEWAY}/auth/ways`).catch(() => null);
  return answer?.ok ? ((await answer.json()) as Schemas["Ways"]).issuer : null;
}

/** Where signing in begins; it ends at the page that is open now. */
export function loginFrom({ pathname, search, hash }: Pick<Location, "pathname" | "search" | "hash">): string {
  const page = pathname + search + hash;
  return `${GATEWAY}/auth/login?next=${encodeURIComponent(page.length > LONGEST ? FIRST_PAGE : page)}`;
}

/** What went wrong, by the name that the gateway gave it; empty where that says nothing to anybody. */
export const refusedFor = (name: string | null): string => REFUSALS.get(name ?? "") ?? "";

const REFUSALS = new Map([
  ["email", "That address may not sign in here. Whoever runs this Darkroom can let it in."],
  ["hd", "That account is not one that your organisation manages. Choose another one."],
  ["code", "The sign-in was broken off. Try again."],
  ["state", "That sign-in took too long, or was begun somewhere else. Try again."],
  ["id_token", "What came back cannot be trusted. Try again, and tell whoever runs this Darkroom if it stays so."],
  ["iss", "What came back cannot be trusted. Try again, and tell whoever runs this Darkroom if it stays so."],
  ["unavailable", "The sign-in does not answer just now. Try again in a moment, or use a key."],
]);

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

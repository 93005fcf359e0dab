/** A short-lived token for what cannot send headers: the WebSocket. */

import { api, dataOf } from "./client";

let kept: { token: string; until: number } | null = null;

/** A token that holds for another minute at least. */
export async function token(): Promise<string> {
  if (kept === null || kept.until - Date.now() < 60_000) {
    const made = await dataOf(api.POST("/v1/tokens"));
    kept = { token: made.token, until: Date.parse(made.expires_at) };
  }
  return kept.token;
}

/** After signing in or out. */
export function forgetToken(): void {
  kept = null;
}

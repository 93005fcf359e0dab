import { expect, it } from "vitest";

import { loginFrom, refusedFor } from "./ways";

const nextOf = (login: string): string | null => new URL(login).searchParams.get("next");

it("signing in ends at the page that is open", () => {
  const login = loginFrom({ pathname: "/ui/library", search: "?q=a lake&model=x", hash: "#top" });
  expect(new URL(login).pathname).toBe("/auth/login");
  expect(nextOf(login)).toBe("/ui/library?q=a lake&model=x#top");
});

it("at the first page where the address is longer than is taken", () => {
  const login = loginFrom({ pathname: "/ui/compare", search: "", hash: `#g=${"x".repeat(600)}` });
  expect(nextOf(login)).toBe(new URL(import.meta.env.BASE_URL, window.location.href).pathname);
});

it("says what was refused by its name alone, whatever the address says", () => {
  expect(refusedFor("email")).toMatch(/may not sign in here/);
  expect(refusedFor("<b>Pay here</b>")).toBe("");
  expect(refusedFor(null)).toBe("");
});

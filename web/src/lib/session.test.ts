import { afterEach, beforeEach, expect, it, vi } from "vitest";

const opened = async (search: string) => {
  window.history.replaceState(null, "", `/ui/${search}`);
  vi.resetModules();
  return (await import("./session")).useSession;
};

beforeEach(() => localStorage.clear());
afterEach(() => window.history.replaceState(null, "", "/ui/"));

it("a sign-in that failed is told to whoever has no key", async () => {
  expect((await opened("?refused=email")).getState()).toMatchObject({ key: null, isRefused: true });
  expect((await opened("")).getState()).toMatchObject({ key: null, isRefused: false });
});

it("an address does not lock out whoever has a key: the gateway alone refuses it", async () => {
  localStorage.setItem("darkroom.key", "dk_works");
  const session = await opened("?refused=email");
  expect(session.getState()).toMatchObject({ key: "dk_works", isRefused: false });
  session.getState().refuse();
  expect(session.getState()).toMatchObject({ key: "dk_works", isRefused: true });
  expect(localStorage.getItem("darkroom.key")).toBe("dk_works");
});

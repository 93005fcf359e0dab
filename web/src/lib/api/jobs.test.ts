import { afterEach, expect, test, vi } from "vitest";

import { ApiError } from "./errors";
import { overBreaks } from "./jobs";

const away = new ApiError({ code: "offline", message: "the gateway does not answer" }, 0);

afterEach(() => vi.useRealTimers());

test("over a break it is asked again until there is an answer", async () => {
  vi.useFakeTimers();
  const waits: string[] = [];
  let count = 0;
  const asked = overBreaks(() => (++count < 4 ? Promise.reject(away) : Promise.resolve("here")), {
    onWait: (error) => waits.push(error.code),
  });
  await vi.advanceTimersByTimeAsync(1_000 + 2_000 + 4_000);
  expect(await asked).toBe("here");
  expect(waits).toEqual(["offline", "offline", "offline"]);
});

test("it is asked at once when the connection is back", async () => {
  vi.useFakeTimers();
  let count = 0;
  const asked = overBreaks(() => (++count < 2 ? Promise.reject(away) : Promise.resolve("here")));
  await vi.advanceTimersByTimeAsync(1);
  window.dispatchEvent(new Event("online"));
  await vi.advanceTimersByTimeAsync(1);
  expect(await asked).toBe("here");
});

test("a refusal is told at once", async () => {
  const refused = new ApiError({ code: "bad_input", message: "seed must be …", field: "seed" }, 400);
  await expect(overBreaks(() => Promise.reject(refused))).rejects.toBe(refused);
});

test("what is called off is not asked again", async () => {
  const control = new AbortController();
  let count = 0;
  const ask = (): Promise<never> => {
    count += 1;
    return Promise.reject(away);
  };
  const asked = overBreaks(ask, { signal: control.signal, onWait: () => queueMicrotask(() => control.abort()) });
  await expect(asked).rejects.toThrow("not sent");
  expect(count).toBe(1);
});

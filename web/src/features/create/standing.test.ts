import { expect, test } from "vitest";

import type { Job } from "@/lib/api/client";

import { standing } from "./standing";

const JOB = {
  state: "running",
  step: 0,
  steps: 0,
  attempt: 1,
  max_attempts: 3,
  eta_s: null,
  queue_position: null,
  is_cancelling: false,
  run_at: null,
} as unknown as Job;

test("a queued job says how many go before it, and how long it will take", () => {
  expect(standing({ ...JOB, state: "queued", queue_position: 0 })).toEqual({ title: "Next in the queue", note: "" });
  expect(standing({ ...JOB, state: "queued", queue_position: 3, eta_s: 12 })).toEqual({
    title: "3 before it in the queue",
    note: "about 12\u00a0s",
  });
});

test("a running job counts its steps, and says that it is not its first attempt", () => {
  expect(standing(JOB).title).toBe("Starting");
  expect(standing({ ...JOB, step: 6, steps: 15, eta_s: 3.2 })).toEqual({
    title: "Step 6 of 15",
    note: "about 3.2\u00a0s left",
  });
  expect(standing({ ...JOB, step: 6, steps: 15, attempt: 2 }).note).toBe("attempt 2 of 3");
  expect(standing({ ...JOB, step: 15, steps: 15 }).title).toBe("Finishing");
});

test("one that is being cancelled says so first", () => {
  expect(standing({ ...JOB, step: 3, steps: 9, is_cancelling: true }).title).toBe("Cancelling");
});

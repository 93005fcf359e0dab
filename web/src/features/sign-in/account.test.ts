import { expect, it } from "vitest";

import { nameOf, renewalOf, roleOf, usedOf } from "./account";
import type { Me, Usage } from "./ways";

const me: Me = { tenant: "studio", roles: ["user"], key_id: "3f9c", email: null, is_guest: false };
const usage: Usage = {
  key_id: "3f9c",
  tenant: "studio",
  priority_class: "normal",
  weight: 1,
  limits: { jobs_per_minute: null, live_jobs: null, device_s_per_day: null, usd_per_day: null },
  used: { live_jobs: 0, device_s: 0, usd: 0 },
  next_job_at: null,
  resets_at: "2030-02-01T00:00:00.000Z",
};

it("says who is signed in", () => {
  expect([nameOf(me), roleOf(me)]).toEqual(["studio", "With the key 3f9c"]);
  expect(nameOf({ ...me, email: "ada@example.org", key_id: null })).toBe("ada@example.org");
  expect(roleOf({ ...me, roles: ["operator", "user"] })).toMatch(/^Operator/);
  expect(nameOf({ ...me, is_guest: true })).toBe("Guest");
});

it("tells limits with what was used of them, and use without a limit", () => {
  const limits = { jobs_per_minute: 60, live_jobs: 8, device_s_per_day: null, usd_per_day: 5 };
  expect(usedOf({ ...usage, limits, used: { live_jobs: 2, device_s: 312, usd: 6 } })).toEqual([
    { name: "Jobs under way", said: "2 of 8", share: 0.25 },
    { name: "Device time today", said: "5\u00a0min 12\u00a0s", share: null },
    { name: "Cost today", said: "$6.00 of $5.00", share: 1 },
    { name: "Jobs a minute", said: "up to 60", share: null },
  ]);
  expect(usedOf(usage)).toEqual([]);
  expect(usedOf({ ...usage, used: null })).toEqual([]);
});

it("tells when there is more to use", () => {
  const now = Date.parse("2030-01-31T23:00:00.000Z");
  expect(renewalOf(usage, now)).toBe("");
  expect(renewalOf({ ...usage, limits: { ...usage.limits, usd_per_day: 5 } }, now)).toBe(
    "Counted anew in 1\u00a0h 0\u00a0min.",
  );
  expect(renewalOf({ ...usage, next_job_at: "2030-01-31T23:00:20.000Z" }, now)).toBe("The next job in 20\u00a0s.");
});

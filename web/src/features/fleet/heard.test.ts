import { describe, expect, it } from "vitest";

import type { Worker } from "@/lib/api/client";

import { countsOf, factsOf, listened, meanRows, paidPerHour, saidOfStanding, standingOf } from "./heard";

const at = (time_s: number): string => new Date(time_s * 1000).toISOString();
const worker = (id: string, time_s: number, more: Partial<Worker> = {}): Worker => ({
  id,
  state: "ready",
  at: at(time_s),
  models: ["landscapes"],
  loaded: [],
  in_flight: 0,
  step_seconds: {},
  facts: {},
  ...more,
});

describe("a worker", () => {
  it("is busy with jobs and ready without", () => {
    const [busy, idle] = listened([], [worker("a", 1000, { in_flight: 2 }), worker("b", 1000)], 1000);
    expect([busy, idle].map((one) => one && standingOf(one, 1001))).toEqual(["busy", "ready"]);
  });

  it("is lost when it falls silent, stays in sight, and goes", () => {
    let known = listened([], [worker("a", 1000), worker("b", 1000)], 1000);
    known = listened(known, [worker("a", 1000), worker("b", 1012)], 1012);
    expect(known.map((one) => standingOf(one, 1012))).toEqual(["lost", "ready"]);
    known = listened(known, [worker("b", 1040)], 1040);
    expect(known.map((one) => one.worker.id)).toEqual(["a", "b"]);
    expect(listened(known, [worker("b", 1090)], 1090).map((one) => one.worker.id)).toEqual(["b"]);
  });

  it("with a slow heartbeat is not lost between two beats", () => {
    let known = listened([], [worker("a", 1000)], 1000);
    for (let now = 1001; now < 1020; now += 1) known = listened(known, [worker("a", 1000)], now);
    known = listened(known, [worker("a", 1020)], 1020);
    expect(known.map((one) => standingOf(one, 1040))).toEqual(["ready"]);
    expect(known.map((one) => standingOf(one, 1070))).toEqual(["lost"]);
  });

  it("is not taken for a slow one because nobody looked", () => {
    let known = listened([], [worker("a", 1000)], 1000);
    known = listened(known, [worker("a", 1300)], 1300);
    expect(known.map((one) => standingOf(one, 1315))).toEqual(["lost"]);
  });

  it("that was silent before anybody looked has been silent for as long", () => {
    const [old] = listened([], [worker("a", 980)], 1000);
    expect(old && standingOf(old, 1000)).toBe("lost");
  });

  it("that said goodbye has left from then on, and goes before a lost one does", () => {
    let known = listened([], [worker("a", 1000), worker("b", 1000)], 1000);
    known = listened(known, [worker("a", 1001, { state: "stopped" }), worker("b", 1001)], 1001);
    expect(known.map((one) => standingOf(one, 1002))).toEqual(["left", "ready"]);
    expect(known.map((one) => saidOfStanding(one, 1005))).toEqual(["left 4\u00a0s ago", "ready"]);
    known = listened(known, [worker("b", 1025)], 1025); // the list forgets it sooner than we do
    expect(known.map((one) => standingOf(one, 1025))).toEqual(["left", "ready"]);
    expect(listened(known, [worker("b", 1032)], 1032).map((one) => one.worker.id)).toEqual(["b"]);
  });

  it("whose goodbye is old is not shown, however long the list has it", () => {
    const stopped = worker("a", 1000, { state: "stopped" });
    expect(listened([], [stopped], 1031)).toEqual([]);
    expect(listened([], [stopped], 1029).map((one) => standingOf(one, 1029))).toEqual(["left"]);
  });

  it("that fell silent while it drained has left, and is not counted as lost", () => {
    const known = listened([], [worker("a", 1000, { state: "draining" }), worker("b", 1000)], 1000);
    expect(countsOf(known, 1005)).toMatchObject({ draining: 1, ready: 1, lost: 0 });
    expect(countsOf(known, 1030)).toMatchObject({ draining: 0, left: 1, lost: 1 });
    expect(known.map((one) => saidOfStanding(one, 1030))).toEqual(["left 30\u00a0s ago", "lost, heard 30\u00a0s ago"]);
  });

  it("is paid for while it is there", () => {
    const facts = { price_per_hour_usd: 0.5 };
    const three = [worker("a", 1000, { facts }), worker("b", 1000, { facts }), worker("c", 1000)];
    let known = listened([], three, 1000);
    expect(paidPerHour(known, 1001)).toBe(1);
    known = listened(known, [worker("a", 1001, { facts, state: "stopped" }), worker("b", 1001, { facts })], 1001);
    expect(paidPerHour(known, 1002)).toBe(0.5);
  });
});

it("facts that a worker did not tell are empty", () => {
  expect(factsOf({ facts: {} })).toEqual({
    device: "",
    host: "",
    version: "",
    memory: null,
    busy: null,
    pricePerHour: 0,
    batches: [],
  });
  const facts = { device: "cpu", memory: { used_bytes: 1, total_bytes: 4 }, batches: { 1: 2, 4: 1 }, busy_share: 0.5 };
  expect(factsOf({ facts })).toMatchObject({ device: "cpu", memory: { used: 1, total: 4 }, busy: 0.5 });
  expect(meanRows(factsOf({ facts }).batches)).toBe(2);
  expect(meanRows([])).toBeNull();
});

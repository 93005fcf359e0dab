import { expect, test } from "vitest";

import { count, jobsOf, questionOf } from "./bulk";
import { ahead, inParallel } from "./parallel";
import { piecesIn, sample } from "./samples";
import { namesOf } from "./zip";

test("names say prompt, seed and id, and are fit for every system", () => {
  const made = sample({ id: "job-12345678", prompt: 'A lake / "dawn": über? ..\\', seed: 3 });
  expect(namesOf(made.pieces)).toEqual(["a-lake-dawn-über-3-art-1234.png"]);
});

test("no two names are the same, whatever the case", () => {
  const twins = ["job-AAAA1111", "job-aaaa1111", "job-aaaa2222"].map((id) => sample({ id }));
  const names = namesOf(piecesIn(twins)).map((name) => name.toLowerCase());
  expect(new Set(names).size).toBe(2 + 1);
});

test("a job is deleted once, and with all that it made, which is said", () => {
  const four = sample({ count: 4 });
  const [first, second] = four.pieces;
  const chosen = [first, second].filter((one) => one !== undefined);
  expect(jobsOf(chosen).map(({ id }) => id)).toEqual([four.id]);
  expect(questionOf(chosen).title).toBe("Delete 4 pictures?");
  expect(questionOf(chosen).description).toContain("2 pictures more");
  expect(questionOf(four.pieces).description).not.toContain("more");
  expect(questionOf(four.pieces).description).toContain("cannot be undone");
  expect(count(1000, "picture")).toBe("1,000 pictures");
});

test("so many at a time, and a failure does not hold up the rest", async () => {
  let now = 0;
  let most = 0;
  const done: number[] = [];
  const act = async (item: number): Promise<void> => {
    most = Math.max(most, (now += 1));
    await Promise.resolve();
    now -= 1;
    if (item === 3) throw new Error("three");
    done.push(item);
  };
  const failures = await inParallel([1, 2, 3, 4, 5, 6, 7], 3, act, new AbortController().signal);
  expect(done.sort()).toEqual([1, 2, 4, 5, 6, 7]);
  expect(failures.map(({ item }) => item)).toEqual([3]);
  expect(most).toBe(3);
});

test("nothing more is begun once it is stopped", async () => {
  const stopper = new AbortController();
  const done: number[] = [];
  const act = (item: number): Promise<void> => {
    done.push(item);
    if (item === 2) stopper.abort();
    return Promise.resolve();
  };
  await inParallel([1, 2, 3, 4], 1, act, stopper.signal);
  expect(done).toEqual([1, 2]);
});

test("what is fetched ahead comes in order, and no more than asked for is on its way", async () => {
  let begun = 0;
  const fetch = async (item: number): Promise<number> => {
    begun += 1;
    for (let turn = item; turn < 5; turn += 1) await Promise.resolve(); // the later, the sooner
    return item * 10;
  };
  const came: number[] = [];
  for await (const one of ahead([1, 2, 3, 4, 5], 2, fetch)) {
    came.push(one);
    expect(begun).toBeLessThanOrEqual(came.length + 1);
  }
  expect(came).toEqual([10, 20, 30, 40, 50]);
});

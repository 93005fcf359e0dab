/**
 * `node lighthouse.mjs URL [--runs N] [--chromium PATH]`: how pages score, as JSON on standard output.
 *
 * Each run is a fresh browser's first visit, at a desk, without made-up slowness; of several runs the median counts.
 */
import { parseArgs } from "node:util";

import { launch } from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";

const CATEGORIES = ["performance", "accessibility", "best-practices"];
const TIMES = ["first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift"];
const CHECKS = ["uses-text-compression", "render-blocking-resources", "uses-long-cache-ttl", "total-byte-weight"];

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "3" }, chromium: { type: "string" } },
});

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

/** One visit; raises where the page could not be looked at. */
async function visit(url) {
  const chrome = await launch({
    ...(values.chromium ? { chromePath: values.chromium } : {}),
    chromeFlags: ["--headless=new", "--no-sandbox"],
  });
  try {
    const options = { port: chrome.port, output: "json", logLevel: "error", onlyCategories: CATEGORIES };
    const config = {
      ...desktopConfig,
      settings: { ...desktopConfig.settings, throttlingMethod: "provided", disableFullPageScreenshot: true },
    };
    const { lhr } = await lighthouse(url, options, config);
    if (lhr.runtimeError) throw new Error(lhr.runtimeError.message);
    return lhr;
  } finally {
    await chrome.kill();
  }
}

/** What is short of the best, by its name: what Lighthouse shows of it. */
const failed = (lhr, category) =>
  lhr.categories[category].auditRefs
    .map(({ id }) => lhr.audits[id])
    .filter((audit) => audit.score !== null && audit.score < 0.9)
    .map((audit) => [audit.id, audit.displayValue ?? audit.title]);

function summary(url, visits) {
  const each = (read) => median(visits.map(read));
  const numbers = (names, read) => Object.fromEntries(names.map((name) => [name, each((lhr) => read(lhr, name))]));
  return {
    url,
    scores: numbers(CATEGORIES, (lhr, name) => lhr.categories[name].score),
    times: numbers(TIMES, (lhr, name) => lhr.audits[name].numericValue),
    checks: numbers(CHECKS, (lhr, name) => lhr.audits[name].score ?? 1),
    blocking: (visits.at(-1).audits["render-blocking-resources"].details?.items ?? []).map((item) => item.url),
    short: Object.fromEntries(CATEGORIES.map((name) => [name, Object.fromEntries(failed(visits.at(-1), name))])),
  };
}

const summaries = [];
for (const url of positionals) {
  const visits = [];
  for (let run = 0; run < Number(values.runs); run += 1) visits.push(await visit(url));
  summaries.push(summary(url, visits));
}
console.log(JSON.stringify(summaries, null, 2));

import type { ReactNode } from "react";

import { dollars, seconds } from "@/lib/format";

import { Chart, type Line } from "./Chart";
import styles from "./Charts.module.css";
import { Fold } from "./Fold";
import {
  type Bucket,
  type Columns,
  type Fleet,
  clock,
  deviceOf,
  latencyOf,
  saidOfDevice,
  saidOfLatency,
  saidOfThroughput,
  throughputOf,
  toldBuckets,
} from "./series";

const LATENCY: Line[] = [
  { name: "p50", ink: "accent" },
  { name: "p90", ink: "inkSoft" },
  { name: "p99", ink: "lineStrong", isDashed: true },
];
const THROUGHPUT: Line[] = [
  { name: "failed", ink: "bad", isBar: true },
  { name: "succeeded", ink: "good", isBar: true },
];
const DEVICE: Line[] = [{ name: "device time", ink: "accent", isBar: true }];
const COSTLY: Line[] = [...DEVICE, { name: "cost", ink: "inkSoft", unit: "cost" }];

const whole = (value: number): string => String(Math.round(value));

/** Latency, throughput and device time over the window. */
export function Charts({ fleet }: { fleet: Fleet }) {
  const { series, totals } = fleet;
  const [times, device, cost] = deviceOf(series);
  const isCostly = totals.cost_usd > 0 && cost !== undefined;
  const worked: Columns = isCostly ? [times, device ?? [], cost] : [times, device ?? []];
  return (
    <section aria-label="Over time" className={styles.charts}>
      <One title="Time to a picture" lines={LATENCY} said={saidOfLatency(fleet)} series={series} cells={LATENCY_CELLS}>
        <Chart columns={latencyOf(series)} lines={LATENCY} say={seconds} />
      </One>
      <One
        title="Jobs that ended"
        lines={THROUGHPUT}
        said={saidOfThroughput(fleet)}
        series={series}
        cells={COUNT_CELLS}
      >
        <Chart columns={throughputOf(series)} lines={THROUGHPUT} say={whole} isWhole />
      </One>
      <One
        title={isCostly ? "Device time and cost" : "Device time"}
        lines={isCostly ? COSTLY : DEVICE}
        said={saidOfDevice(fleet)}
        series={series}
        cells={DEVICE_CELLS}
      >
        <Chart key={String(isCostly)} columns={worked} lines={isCostly ? COSTLY : DEVICE} say={seconds} />
      </One>
    </section>
  );
}

type Cells = readonly (readonly [string, (bucket: Bucket) => string])[];

const LATENCY_CELLS: Cells = [
  ["p50", (bucket) => seconds(bucket.p50_s)],
  ["p90", (bucket) => seconds(bucket.p90_s)],
  ["p99", (bucket) => seconds(bucket.p99_s)],
];
const COUNT_CELLS: Cells = [
  ["Succeeded", (bucket) => String(bucket.succeeded)],
  ["Failed", (bucket) => String(bucket.failed)],
  ["Cancelled", (bucket) => String(bucket.cancelled)],
];
const DEVICE_CELLS: Cells = [
  ["Device time", (bucket) => seconds(bucket.device_s)],
  ["Cost", (bucket) => dollars(bucket.cost_usd)],
];

interface OneProps {
  title: string;
  lines: readonly Line[];
  said: string;
  series: readonly Bucket[];
  cells: Cells;
  children: ReactNode;
}

function One({ title, lines, said, series, cells, children }: OneProps) {
  return (
    <figure className={styles.one}>
      <figcaption>
        <h2>{title}</h2>
        <p className="numbers">{said}</p>
      </figcaption>
      {children}
      <ul aria-label={`Lines of “${title}”`} className={styles.lines}>
        {lines.toReversed().map(({ name, ink, isBar, isDashed }) => (
          <li key={name}>
            <i data-ink={ink} data-bar={isBar} data-dashed={isDashed} /> {name}
          </li>
        ))}
      </ul>
      <Fold title={`“${title}” as a table`}>
        {() => (
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                {cells.map(([name]) => (
                  <th key={name} scope="col" data-number>
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {toldBuckets(series).map((bucket) => (
                <tr key={bucket.at}>
                  <td>{clock(bucket.at)}</td>
                  {cells.map(([name, of]) => (
                    <td key={name} data-number>
                      {of(bucket)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Fold>
    </figure>
  );
}

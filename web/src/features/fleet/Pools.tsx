import { dollars, seconds } from "@/lib/format";

import styles from "./Table.module.css";
import type { Fleet } from "./series";

/** What each pool is to have, has, and why; nothing where the workers are always the same. */
export function Pools({ pools, scaler }: Pick<Fleet, "pools" | "scaler">) {
  if (!scaler) return null;
  const fault = scaler.is_fresh ? scaler.fault : "nobody scales it now; its workers go on";
  return (
    <section aria-labelledby="pools" className={styles.section}>
      <h2 id="pools">Pools</h2>
      {fault ? <p className={styles.quiet}>{fault}</p> : null}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keys */}
      <div className={styles.scroll} role="region" aria-labelledby="pools" tabIndex={0}>
        <table className={styles.table}>
          <thead>
            <tr>
              <th scope="col">Pool</th>
              <th scope="col">Wanted</th>
              <th scope="col">Running</th>
              <th scope="col">Starting</th>
              <th scope="col">Leaving</th>
              <th scope="col">Bounds</th>
              <th scope="col">A start takes</th>
              <th scope="col">An hour of one</th>
            </tr>
          </thead>
          <tbody>
            {pools.map((pool) => (
              <tr key={pool.name}>
                <th scope="row">
                  {pool.name}
                  <span className={styles.why}>{pool.reasons.join("; ")}</span>
                </th>
                <td>{pool.wanted ?? "–"}</td>
                <td>{pool.running}</td>
                <td>
                  {pool.starting}
                  {pool.next_ready_s === null ? null : `, in ${seconds(pool.next_ready_s)}`}
                </td>
                <td>{pool.leaving}</td>
                <td>
                  {pool.min_workers}–{pool.max_workers}
                </td>
                <td>{seconds(pool.ready_s)}</td>
                <td>
                  {dollars(pool.price_per_hour_usd)}
                  {pool.is_spot ? ", spot" : ""}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

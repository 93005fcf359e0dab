import { dollars, seconds } from "@/lib/format";

import { Fact } from "./Fact";
import styles from "./Table.module.css";
import { type Pool, boundsOf, standingOfPool } from "./pools";
import type { Fleet } from "./series";

/** What each pool is to have, has, and why; nothing where the workers are always the same. */
export function Pools({ pools, scaler }: Pick<Fleet, "pools" | "scaler">) {
  if (!scaler) return null;
  const fault = scaler.is_fresh ? scaler.fault : "Nobody scales it now; the workers that are there go on.";
  return (
    <section aria-labelledby="pools" className={styles.section}>
      <header className={styles.head}>
        <h2 id="pools">Pools</h2>
        <span className={styles.soft}>
          policy {scaler.policy} · driver {scaler.driver}
        </span>
      </header>
      {fault ? (
        <p className={styles.fault} role="status">
          {fault}
        </p>
      ) : null}
      <ul className={styles.rows}>
        {pools.map((pool) => (
          <PoolRow key={pool.name} pool={pool} />
        ))}
      </ul>
    </section>
  );
}

function PoolRow({ pool }: { pool: Pool }) {
  const { said, mark } = standingOfPool(pool);
  const facts = [pool.device, pool.is_spot ? "spot" : "", pool.models.join(", ")];
  return (
    <li className={styles.row}>
      <div className={styles.main}>
        <strong title={pool.name}>{pool.name}</strong>
        <span className={styles.state} data-standing={mark}>
          {said}
        </span>
        <span className={styles.soft}>{facts.filter(Boolean).join(" · ")}</span>
      </div>
      <dl className={styles.facts}>
        <Fact name="Wanted">{pool.wanted ?? "–"}</Fact>
        <Fact name="May have">{boundsOf(pool)}</Fact>
        <Fact name="Running">{pool.running}</Fact>
        <Fact name="Starting">
          {pool.starting}
          {pool.next_ready_s === null ? null : `, in ${seconds(pool.next_ready_s)}`}
        </Fact>
        <Fact name="Leaving">{pool.leaving}</Fact>
        <Fact name="A start takes">{seconds(pool.ready_s)}</Fact>
        <Fact name="An hour of one">{dollars(pool.price_per_hour_usd)}</Fact>
      </dl>
      {pool.reasons.length ? (
        <ul className={styles.why} aria-label={`Why ${pool.name} is to have so many`}>
          {pool.reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      ) : null}
    </li>
  );
}

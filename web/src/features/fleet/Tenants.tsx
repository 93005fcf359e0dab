import { dollars, seconds } from "@/lib/format";

import styles from "./Table.module.css";
import type { Fleet } from "./series";

/** What each tenant used in the window, and has under way. */
export function Tenants({ tenants }: Pick<Fleet, "tenants">) {
  return (
    <section aria-labelledby="tenants" className={styles.section}>
      <h2 id="tenants">Use by tenant</h2>
      {tenants.length === 0 ? <p className={styles.quiet}>Nobody has made anything in this time.</p> : null}
      {tenants.length > 0 ? (
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reached by keys
        <div className={styles.scroll} role="region" aria-labelledby="tenants" tabIndex={0}>
          <table className={styles.table}>
            <thead>
              <tr>
                <th scope="col">Tenant</th>
                <th scope="col">Jobs</th>
                <th scope="col">Images</th>
                <th scope="col">Device time</th>
                <th scope="col">Cost</th>
                <th scope="col">Under way</th>
              </tr>
            </thead>
            <tbody>
              {tenants.map((one) => (
                <tr key={one.tenant}>
                  <th scope="row">{one.tenant}</th>
                  <td>{one.jobs}</td>
                  <td>{one.images}</td>
                  <td>{seconds(one.device_s)}</td>
                  <td>{dollars(one.cost_usd)}</td>
                  <td>{one.running + one.queued}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </section>
  );
}

import { Fold } from "./Fold";
import { KIND_WORDS, type Lane, type Tick } from "./ticks";
import { shortName } from "./heard";

const MOST = 15;

/** The same in words: the latest batches of all workers, newest first. */
export function TickTable({ lanes }: { lanes: readonly Lane[] }) {
  return (
    <Fold title="The latest batches as a table">
      {() => (
        <table>
          <thead>
            <tr>
              <th scope="col">Worker</th>
              <th scope="col">Batch</th>
              <th scope="col">Work</th>
              <th scope="col" data-number>
                Rows
              </th>
              <th scope="col" data-number>
                Time
              </th>
              <th scope="col">Jobs</th>
            </tr>
          </thead>
          <tbody>
            {latest(lanes).map(([worker, tick]) => (
              <tr key={`${worker} ${tick.n}`}>
                <td>{shortName(worker)}</td>
                <td>{tick.n}</td>
                <td>{KIND_WORDS[tick.kind]}</td>
                <td data-number>{tick.rows}</td>
                <td data-number>{Math.round(tick.seconds * 1000)} ms</td>
                <td>{tick.parts.map(({ job, rows }) => `${job.slice(4, 12)} (${rows})`).join(", ")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Fold>
  );
}

function latest(lanes: readonly Lane[]): [string, Tick][] {
  const all = lanes.flatMap(({ id, ticks, ahead_s }) =>
    ticks.slice(-MOST).map((tick): [string, Tick, number] => [id, tick, tick.at - ahead_s]),
  );
  return all
    .toSorted((one, other) => other[2] - one[2])
    .slice(0, MOST)
    .map(([id, tick]) => [id, tick]);
}

import { Lock } from "lucide-react";
import { useState } from "react";

import { Empty, Fault, Waiting } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";
import { useMe } from "@/lib/api/queries";

import { Charts } from "./Charts";
import { Failures } from "./Failures";
import styles from "./FleetRoom.module.css";
import { Jobs } from "./Jobs";
import { Overview } from "./Overview";
import { Pools } from "./Pools";
import { Tenants } from "./Tenants";
import { TickView } from "./TickView";
import { Workers } from "./Workers";
import { WINDOWS } from "./series";
import { useEverybodysSteps, useFigures, useWorkers } from "./watch";

/** The room Fleet: for those who run the service. */
export function FleetRoom() {
  const me = useMe();
  if (me.isPending) return <Waiting label="Asking who you are" height="60vh" />;
  if (me.isError) return <Fault error={me.error} onRetry={() => void me.refetch()} />;
  if (!me.data.roles.includes("operator")) return <NotYours />;
  return <Fleet />;
}

function NotYours() {
  return (
    <>
      <h1>Fleet</h1>
      <Empty icon={<Lock />} title="This room is for operators">
        It shows all workers and everybody’s jobs. Your own pictures are in the Library; what you may use, and have
        used, is in the menu with your name.
      </Empty>
    </>
  );
}

function Fleet() {
  useEverybodysSteps();
  const [window_s, setWindow] = useState<string>("3600");
  const figures = useFigures(window_s);
  const workers = useWorkers();
  const { data, error, refetch } = figures;
  const isComing = workers.isPending || figures.isPending; // all at once, so that nothing moves
  return (
    <div className={styles.room}>
      <header className={styles.head}>
        <h1>Fleet</h1>
        <Segmented label="How far to look back" value={window_s} options={WINDOWS} onChange={setWindow} />
      </header>
      {error ? <Fault error={error} onRetry={() => void refetch()} /> : null}
      {isComing ? (
        <Waiting label="Loading the figures" height="60vh" />
      ) : (
        <>
          {data ? <Overview fleet={data} /> : null}
          <TickView />
          {data ? <Pools pools={data.pools} scaler={data.scaler} /> : null}
          <Workers />
          {data ? <Charts fleet={data} /> : null}
          <Jobs />
          {data ? (
            <div className={styles.pair}>
              <Failures failed={data.errors} />
              <Tenants tenants={data.tenants} />
            </div>
          ) : null}
        </>
      )}
      {data?.is_partial ? (
        <p className={styles.note}>
          More jobs were made in this time than are looked at: the oldest of them are left out of the figures.
        </p>
      ) : null}
    </div>
  );
}

import { ImageIcon, X } from "lucide-react";
import { useDeferredValue, useEffect, useState } from "react";

import { Button } from "@/components/Button";
import type { JobDeeds } from "@/components/JobActions";
import { Empty, Fault, Waiting } from "@/components/Notice";
import { Progress } from "@/components/Progress";
import type { Artifact, Job } from "@/lib/api/client";
import { sentenceOf } from "@/lib/api/errors";
import { PAGE, keys, queryClient, useRecent } from "@/lib/api/queries";
import { useLive } from "@/lib/live";

import { BareFrames } from "./JobFrames";
import { JobCard } from "./JobCard";
import card from "./JobCard.module.css";
import { isOfGrid, useStage } from "./grids";
import { type Send, useSending } from "./sending";
import styles from "./Stage.module.css";

const MOST = 192;
const FEWEST = 8; // beside grids that are left out; else further ones are asked for
const SOONER = 6; // about as many as a screen shows: drawn before the others
const FIRST = 3; // whose pictures do not wait until it is known that they are in view
const GATHER_MS = 1_500; // where an operator hears of everybody's, one look is for all of them

interface Props {
  deeds: JobDeeds & { onTryAgain: (job: Job) => void };
  onOpen: (output: Artifact) => void;
}

/** All that was asked for, the newest first: what is on its way to the gateway, then its jobs. */
export function Stage({ deeds, onOpen }: Props) {
  const [limit, setLimit] = useState(PAGE);
  const isWithGrids = useStage((stage) => stage.isWithGrids);
  const recent = useRecent(limit);
  const isWhole = useWhole(!recent.isPending);
  const sends = useSending((state) => state.sends);
  useNewcomers();
  const all = recent.data ?? [];
  const ids = isWithGrids ? all : all.filter((id) => !isOfGrid(id));
  const left = all.length - ids.length;
  const hasMore = all.length >= limit && limit < MOST;
  const isTooFew = hasMore && ids.length < FEWEST && !recent.isFetching;
  if (isTooFew) setLimit(MOST);
  if (recent.isPending) return <Loading />;
  const isBare = ids.length === 0 && sends.length === 0;
  return (
    <section aria-label="Results" className={styles.stage}>
      {recent.isError ? <Fault error={recent.error} onRetry={() => void recent.refetch()} /> : null}
      {isBare && !recent.isError ? (
        <Empty icon={<ImageIcon />} title="Nothing made yet">
          Say what to draw, and press Make. Pictures develop here, and stay until you delete them.
        </Empty>
      ) : null}
      <div className={styles.grid}>
        {sends.map((send) => (
          <Sending key={send.key} send={send} />
        ))}
        {(isWhole ? ids : ids.slice(0, SOONER)).map((id, at) => (
          <JobCard key={id} id={id} deeds={deeds} isFirst={at < FIRST} onOpen={onOpen} />
        ))}
      </div>
      {isWhole && (left > 0 || isWithGrids) ? (
        <p className={styles.grids}>
          {isWithGrids
            ? "Pictures of Compare’s grids are among these."
            : `${left === 1 ? "1 picture" : `${left} pictures`} of Compare’s grids left out.`}
          <Button look="ghost" size="small" onClick={() => useStage.setState({ isWithGrids: !isWithGrids })}>
            {isWithGrids ? "Leave them out" : "Show them"}
          </Button>
        </p>
      ) : null}
      {isWhole && hasMore ? (
        <Button className={styles.more} disabled={recent.isFetching} onClick={() => setLimit(limit + PAGE)}>
          Show more
        </Button>
      ) : null}
    </section>
  );
}

/**
 * Whether all cards are to be drawn: at a first visit in a second go, which yields to input and to what is drawn before.
 *
 * Who comes back finds all of them at once, and is scrolled to where they were.
 */
function useWhole(isThere: boolean): boolean {
  const [wasDrawn] = useState(() => useStage.getState().wasDrawn);
  const isWhole = useDeferredValue(isThere, wasDrawn);
  useEffect(() => {
    if (isWhole) useStage.setState({ wasDrawn: true });
  }, [isWhole]);
  return isWhole;
}

/** Jobs that were made elsewhere, such as in another window, join soon after they are heard of. */
function useNewcomers(): void {
  useEffect(() => {
    const asked = new Set<string>();
    let timer: number | undefined;
    const ask = (): void => {
      timer = undefined;
      void queryClient.invalidateQueries({ queryKey: keys.recent });
    };
    const stop = useLive.subscribe(({ words }) => {
      const fresh = Object.keys(words).filter((id) => !asked.has(id) && !queryClient.getQueryData(keys.job(id)));
      fresh.forEach((id) => asked.add(id));
      if (fresh.length > 0) timer ??= window.setTimeout(ask, GATHER_MS);
    });
    return () => {
      window.clearTimeout(timer);
      stop();
    };
  }, []);
}

function Sending({ send }: { send: Send }) {
  return (
    <article className={card.card} aria-label={send.prompt}>
      <BareFrames frame={send.frame} />
      <div className={card.bar}>
        <Progress value={null} label="On its way" />
      </div>
      <p className={card.prompt}>{send.prompt}</p>
      <div className={card.foot}>
        <p className={card.small} role="status">
          {send.error ? sentenceOf(send.error) : "On its way"}
          <br />
          {send.error ? "It is sent as soon as there is an answer." : " "}
        </p>
        <div className={card.actions}>
          <Button size="small" icon={<X />} onClick={send.stop}>
            Do not send
          </Button>
        </div>
      </div>
    </article>
  );
}

function Loading() {
  return (
    <div className={styles.grid}>
      {[0, 1, 2, 3].map((one) => (
        <Waiting key={one} label="Loading what was made before" height="20rem" />
      ))}
    </div>
  );
}

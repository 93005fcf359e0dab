import { Play, RefreshCw, X } from "lucide-react";
import { toast } from "sonner";

import { Button } from "@/components/Button";
import { Fault } from "@/components/Notice";
import { Progress } from "@/components/Progress";
import { detailOf, sentenceOf } from "@/lib/api/errors";
import { queryClient } from "@/lib/api/queries";
import { deviceSeconds, dollars } from "@/lib/format";

import type { Estimate } from "./estimate";
import { type Plan, slotsOf } from "./grid";
import styles from "./RunBar.module.css";
import { cancelAll, make } from "./running";
import type { Tally } from "./standing";

interface Props {
  plan: Plan;
  tally: Tally;
  estimate: Estimate | null;
  /** Why it cannot be made yet; empty where it can. */
  lack: string;
}

/** How many pictures it is, what they will take, and the buttons that make them and stop them. */
export function RunBar({ plan, tally, estimate, lack }: Props) {
  const { all, done, fresh, lost, live, isBusy } = tally;
  const isMade = fresh.length < all;
  const stop = (): void => {
    cancelAll(live).catch((error: unknown) => toast.error(sentenceOf(error), { description: detailOf(error) }));
  };
  return (
    <div className={styles.bar}>
      <div className={styles.said}>
        <p className="numbers" role="status">
          {isMade ? `${done} of ${all} made` : countText(plan)}
          {tally.wait
            ? ", the others wait to be sent"
            : isBusy
              ? ", the others are developing"
              : lost.length
                ? `, ${lost.length} without a picture`
                : ""}
        </p>
        {lack || fresh.length ? <p className={`${styles.small} numbers`}>{lack || estimateText(estimate)}</p> : null}
      </div>
      <div className={styles.actions}>
        {isBusy ? (
          <Button icon={<X />} onClick={stop}>
            Cancel all
          </Button>
        ) : null}
        {lost.length ? (
          <Button icon={<RefreshCw />} onClick={() => void make(lost)}>
            Make {lost.length} again
          </Button>
        ) : null}
        {fresh.length || !all ? (
          <Button
            look="main"
            icon={<Play />}
            disabled={lack !== ""}
            aria-keyshortcuts="Control+Enter"
            onClick={() => void make(fresh)}
          >
            {isMade ? `Make the ${fresh.length} missing` : `Make ${all === 1 ? "1 picture" : `${all} pictures`}`}
          </Button>
        ) : null}
      </div>
      <div className={styles.progress}>
        {isBusy ? <Progress value={done / all} label="How many of the cells are made" /> : null}
      </div>
      {tally.wait || tally.unknown ? (
        <div className={styles.fault}>
          <Fault
            error={tally.wait ?? tally.unknown}
            {...(tally.wait ? {} : { onRetry: () => void queryClient.invalidateQueries({ queryKey: ["jobs"] }) })}
          />
        </div>
      ) : null}
    </div>
  );
}

function countText(plan: Plan): string {
  const [columns, rows] = [slotsOf(plan.across).length, slotsOf(plan.down).length];
  const count = columns * rows;
  return `${columns} × ${rows}: ${count === 1 ? "1 picture" : `${count} pictures`}`;
}

function estimateText(estimate: Estimate | null): string {
  if (!estimate) return "What they take is known once such pictures have been made.";
  const cost = estimate.cost_usd ? `, ${dollars(estimate.cost_usd)}` : "";
  return `about ${deviceSeconds(estimate.device_s)}${cost}`;
}

import { Images, SearchX } from "lucide-react";
import { useDeferredValue, useEffect, useMemo } from "react";
import { Link } from "react-router";

import { Button } from "@/components/Button";
import { Empty, Fault, Waiting } from "@/components/Notice";
import { useMe, useModels } from "@/lib/api/queries";

import { Browser } from "./Browser";
import { ALL, type Presets, choicesOf, isAll, piecesOf } from "./filter";
import styles from "./LibraryRoom.module.css";
import { KeysHelp } from "./KeysHelp";
import type { Made } from "./made";
import { follow, useBreak, useShelf } from "./shelf";
import { Toolbar } from "./Toolbar";
import { useFilter } from "./useFilter";

const NOTHING: readonly Made[] = [];

/** The room where all that was made is found again. */
export function LibraryRoom() {
  const me = useMe();
  const shelf = useShelf(me.data?.roles.includes("operator") ? me.data.tenant : undefined, me.isSuccess);
  const fault = useBreak((state) => state.fault);
  const [filter, change] = useFilter();
  const asked = useDeferredValue(filter);
  const made = shelf.data ?? NOTHING;
  const presets = usePresets();
  const pieces = useMemo(() => piecesOf(made, asked, presets), [made, asked, presets]);
  const choices = useMemo(() => choicesOf(made, presets), [made, presets]);
  const total = useMemo(() => made.reduce((sum, one) => sum + one.pieces.length, 0), [made]);
  useEffect(follow, []);
  const broken = me.error ?? shelf.error ?? fault ?? (shelf.isPending ? shelf.failureReason : null);
  const retry = (): void => void (me.isError ? me.refetch() : shelf.refetch());
  const isReady = shelf.data !== undefined;
  return (
    <div className={styles.room}>
      <header className={styles.head}>
        <h1>Library</h1>
        <p className={`${styles.count} numbers`} role="status">
          {isReady ? countOf(pieces.length, total, isAll(asked), shelf.isFetching) : ""}
        </p>
        <KeysHelp />
      </header>
      {broken ? <Fault error={broken} {...(fault ? {} : { onRetry: retry })} /> : null}
      {isReady && total > 0 ? <Toolbar filter={filter} choices={choices} onChange={change} /> : null}
      {!isReady ? (
        broken ? null : (
          <Loading />
        )
      ) : total === 0 && !shelf.isFetching ? (
        <Empty icon={<Images />} title="Nothing made yet" action={<Link to="/">Make the first picture</Link>}>
          Everything that you make is kept here until you delete it.
        </Empty>
      ) : pieces.length === 0 ? (
        <Empty
          icon={<SearchX />}
          title={shelf.isFetching ? "Nothing like that so far" : "Nothing like that"}
          action={<Button onClick={() => change(ALL)}>Show everything</Button>}
        >
          Fewer words or filters may find it.
        </Empty>
      ) : (
        <Browser pieces={pieces} />
      )}
    </div>
  );
}

function countOf(shown: number, total: number, isEverything: boolean, isLoading: boolean): string {
  const all = `${total.toLocaleString("en")} picture${total === 1 ? "" : "s"}`;
  return `${isEverything ? all : `${shown.toLocaleString("en")} of ${all}`}${isLoading ? ", loading" : ""}`;
}

function usePresets(): Presets {
  const models = useModels().data;
  return useMemo(() => Object.fromEntries((models ?? []).map((model) => [model.id, model.presets])), [models]);
}

function Loading() {
  return (
    <div className={styles.loading}>
      {Array.from({ length: 12 }, (_, at) => (
        <Waiting key={at} label={at === 0 ? "Loading what was made" : ""} height="10rem" />
      ))}
    </div>
  );
}

/** The filter at hand, and in the URL a moment later: to be kept, sent, and found again on the way back. */

import { useCallback, useEffect, useState } from "react";
import { useSearchParams } from "react-router";

import { type Filter, filterFrom, paramsOf } from "./filter";

const PAUSE_MS = 250; // browsers refuse an address that changes with every letter

export function useFilter(): readonly [Filter, (change: Partial<Filter>) => void] {
  const [params, setParams] = useSearchParams();
  const [filter, setFilter] = useState(() => filterFrom(params));
  const said = params.toString();
  const [seen, setSeen] = useState(said);
  const [written, setWritten] = useState(said);
  if (said !== seen) {
    setSeen(said);
    if (said !== written) setFilter(filterFrom(params)); // somebody else's address: a link, the way back
  }
  useEffect(() => {
    const next = paramsOf(filter).toString();
    if (next === seen) return undefined;
    const timer = window.setTimeout(() => {
      setWritten(next);
      void setParams(next, { replace: true, preventScrollReset: true });
    }, PAUSE_MS);
    return () => window.clearTimeout(timer);
  }, [filter, seen, setParams]);
  const change = useCallback((said: Partial<Filter>) => {
    setFilter((before) => ({ ...before, ...said }));
    window.scrollTo(0, 0);
  }, []);
  return [filter, change];
}

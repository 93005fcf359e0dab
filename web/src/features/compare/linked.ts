/** The grid and the page's address, kept the same: what is opened by its address is the same grid. */

import { useEffect } from "react";
import { create } from "zustand";

import { composed } from "@/lib/composed";

import { beginWith, open, useDesk } from "./desk";
import { gridOf, linkOf } from "./link";
import { save } from "./saved";

const MARK = "#g=";
const PAUSE_MS = 200;

/** Whether an address is being read, and whether it was none of ours. */
export const useLinked = create<{ isReading: boolean; isWrong: boolean }>(() => ({
  isReading: window.location.hash.startsWith(MARK),
  isWrong: false,
}));

export function useAddress(): void {
  useEffect(() => {
    const address = new Address();
    address.start();
    return () => address.stop();
  }, []);
}

export const openLink = (link: string): void => {
  window.location.hash = `${MARK}${link}`.slice(1);
};

class Address {
  private written = "";
  private timer: number | undefined;
  private turn = 0;
  private unsubscribe = (): void => undefined;

  start(): void {
    window.addEventListener("hashchange", this.read);
    this.unsubscribe = useDesk.subscribe((now, before) => {
      if (now.plan !== before.plan || now.jobs !== before.jobs) this.writeSoon();
    });
    if (!window.location.hash.startsWith(MARK)) beginWith(composed());
    this.read();
  }

  stop(): void {
    window.removeEventListener("hashchange", this.read);
    window.clearTimeout(this.timer);
    this.turn += 1;
    this.unsubscribe();
  }

  private read = (): void => {
    const { hash } = window.location;
    if (hash === this.written) return;
    if (hash.startsWith(MARK)) void this.take(hash);
    else this.writeSoon();
  };

  private async take(hash: string): Promise<void> {
    const turn = this.begin();
    useLinked.setState({ isReading: true });
    const opened = await gridOf(hash.slice(MARK.length));
    if (turn !== this.turn) return;
    this.written = hash;
    if (opened) open(opened);
    useLinked.setState({ isReading: false, isWrong: opened === null });
  }

  private writeSoon(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.write(), PAUSE_MS);
  }

  /** The address is replaced: each value that is added is no page to go back to. */
  private async write(): Promise<void> {
    const { plan, jobs } = useDesk.getState();
    const isMade = Object.keys(jobs).length > 0;
    if (!isMade && !plan.settings.prompt.trim()) return;
    const turn = this.begin();
    const link = await linkOf(plan, jobs);
    if (turn !== this.turn || `${MARK}${link}` === this.written) return;
    this.written = `${MARK}${link}`;
    window.history.replaceState(window.history.state, "", this.written);
    useLinked.setState({ isWrong: false });
    if (isMade) save(plan, link);
  }

  private begin(): number {
    window.clearTimeout(this.timer);
    return (this.turn += 1);
  }
}

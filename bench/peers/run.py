"""One measurement: what a request takes alone, the best batch of each peer, then every cell in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from bench.service.box import ROOT
from darkroom.bench.figures import GOOD_FACTOR, within

from . import muse, workloads
from .cells import Cell, Found, Run, Shelf, order
from .environments import NotInstalled
from .serving import Ground, NotStarted, Served
from .size import WORKLOADS, Size
from .systems import ALONE, DARKROOM, SYSTEMS, WINDOWED, Batch, System
from .tuning import tuned

TUNE_SEED = 99  # of requests that nothing is measured with
CLIMB_SHARE = 0.5  # in time; where fewer are, no higher load is tried
FAULTS = (NotInstalled, NotStarted, TimeoutError)


class OutOfTime(Exception):
    """The minutes are over; what is measured is kept."""


class Measurement:
    """What is measured on which ground; goes on where it stopped."""

    def __init__(self, size: Size, shelf: Shelf, ground: Ground, ends_at: float) -> None:
        """`ends_at` is of `time.monotonic`: nothing is begun behind it."""
        self._size, self._shelf, self._ground, self._ends_at = size, shelf, ground, ends_at
        self._batches: dict[str, Batch] = {}
        self._absent: dict[str, str] = {}  # why a system could not be measured in this run

    def run(self, systems: Sequence[System] = SYSTEMS, names: Sequence[str] = WORKLOADS) -> None:
        """All that is left of it. Raises `OutOfTime`."""
        alone = self.reference()
        left = self._shelf.left([*order(self._size, [system.name for system in systems], names)])
        for system in systems:
            if any(cell.system == system.name for cell in left):
                self._tune(system, alone)
        for number, cell in enumerate(left):
            system = next(each for each in systems if each.name == cell.system)
            if cell.system in self._absent:
                self._shelf.keep(Found(cell, failure=self._absent[cell.system], about=self._about(cell.system)))
                continue
            self._check_time()
            _tell(f"{number + 1} of {len(left)}: {system.said} on {cell.workload}")
            self._shelf.keep(self._measured(cell, system, alone))

    def crowds(self) -> None:
        """Muse's table, as far as it is left. Raises `OutOfTime`."""
        for setting in muse.settings(self._size):
            if self._shelf.read(setting.name) is None:
                self._check_time()
                _tell(f"Darkroom with {setting.said}, {self._size.users[-1]} users")
                with self._ground.served(DARKROOM, workers=setting.workers, is_batching=setting.is_batching) as served:
                    self._shelf.write(setting.name, muse.measured(self._size, served.send))

    def reference(self) -> Mapping[str, float]:
        """Seconds alone of each kind: plain diffusers, one after another, asked over HTTP as all are."""
        kept = self._shelf.read("alone")
        if kept is None:
            self._check_time()
            _tell("plain diffusers, one at a time")
            kinds = {kind for name in WORKLOADS for kind in workloads.kinds(name)}
            with self._ground.served(WINDOWED, ALONE) as served:
                kept = {wanted.kind: served.alone_s(wanted) for wanted in sorted(kinds, key=lambda each: each.kind)}
            self._shelf.write("alone", kept)
        return typical(kept)

    def _tune(self, system: System, alone: Mapping[str, float]) -> None:
        if system is DARKROOM:
            return

        def measure(batch: Batch) -> tuple[float, float]:
            self._check_time()
            _tell(f"{system.said} with {batch}")
            with self._ground.served(system, batch) as served:
                load, requests = self._size.tune
                outcomes = served.send(workloads.mixed_load(load * capacity_of("W2", alone), requests, TUNE_SEED))
            latencies = [each.latency_s for each in outcomes]
            return within(outcomes, alone, GOOD_FACTOR) / len(outcomes), statistics.fmean(latencies)

        try:
            self._batches[system.name] = tuned(system.name, self._size, self._shelf, measure)
        except FAULTS as error:
            self._absent[system.name] = str(error)
            _tell(f"{system.said} is left out: {error}")

    def _measured(self, cell: Cell, system: System, alone: Mapping[str, float]) -> Found:
        found = Found(cell, about=self._about(system.name))
        try:
            with self._ground.served(system, self._batches.get(system.name, ALONE)) as served:
                return replace(found, runs=_runs(served, cell, self._size, alone))
        except FAULTS as error:
            said = str(error) or "it was stuck"
            self._absent[system.name] = said
            _tell(f"{system.said} is left out: {said}")
            return replace(found, failure=said)

    def _about(self, system: str) -> dict[str, Any]:
        batch = self._batches.get(system)
        return {
            "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": revision(),
            "batch": None if batch is None else asdict(batch),
        }

    def _check_time(self) -> None:
        if time.monotonic() > self._ends_at:
            raise OutOfTime


def typical(alone: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each kind's seconds alone."""
    return {kind: statistics.median(each) for kind, each in alone.items()}


def capacity_of(workload: str, alone: Mapping[str, float]) -> float:
    """Requests a second of that workload that are done one after another."""
    return 1 / sum(share * alone[wanted.kind] for wanted, share in workloads.kinds(workload).items())


def revision() -> str:
    """Of this tree; `+` where it was changed since."""
    return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain") else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _runs(served: Served, cell: Cell, size: Size, alone: Mapping[str, float]) -> list[Run]:
    """A ladder of loads is climbed until the system is plainly lost: above that a queue grows, and says nothing."""
    found: list[Run] = []
    for part in workloads.parts(cell.workload, size, capacity_of(cell.workload, alone), cell.repeat):
        if found and within(found[-1].outcomes, alone, GOOD_FACTOR) < CLIMB_SHARE * len(found[-1].outcomes):
            break
        span_s = part.plan[-1].at_s if part.load is not None else None
        found.append(Run(part.load, span_s, served.send(part.plan)))
    return found


def _tell(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)

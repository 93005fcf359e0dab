"""One measurement: what a request takes alone, the best batch of each peer, then every cell in turn."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from darkroom.bench.figures import GOOD_FACTOR, within
from darkroom.errors import DarkroomError

from . import environments, muse, workloads
from .cells import Cell, Found, Run, Shelf, order, visits
from .conditions import revision
from .environments import NotInstalled
from .estimate import estimate_s
from .serving import Broken, Ground, NotStarted, Served
from .size import TAIL_LOAD, WORKLOADS, Size
from .systems import DARKROOM, SYSTEMS, WINDOWED, Batch, System, splits
from .tuning import NothingHolds, tries_of, tuned

TUNE_SEED = 99  # of requests that nothing is measured with
CLIMB_SHARE = 0.5  # in time; where fewer are, no higher load is tried
FAULTS = (NotInstalled, NotStarted, Broken, NothingHolds, TimeoutError)


class OutOfTime(Exception):
    """The minutes are over; what is measured is kept."""


@dataclass
class Measurement:
    """What is measured on which ground; goes on where it stopped. `ends_at` is of `time.monotonic`: nothing is begun
    behind it. `absent` says why a system cannot be measured in this run."""

    size: Size
    shelf: Shelf
    ground: Ground
    ends_at: float
    absent: dict[str, str] = field(default_factory=dict)
    _batches: dict[str, Batch] = field(default_factory=dict, init=False)

    def run(
        self, systems: Sequence[System] = SYSTEMS, names: Sequence[str] = WORKLOADS, *, has_muse: bool = True
    ) -> None:
        """All that is left of it; `has_muse`: Muse's table follows. Raises `OutOfTime`."""
        alone, known = self.reference(), {system.name: system for system in systems}
        left = self.shelf.left([*order(self.size, [*known], names)])
        minutes = estimate_s(self.size, systems, alone, names, muse=has_muse) / 60
        beside = "the sweep and Muse's table" if has_muse else "the sweep"
        _tell(f"{len(left)} cells are left; with {beside} all of it takes {minutes:.0f} minutes at most")
        for system in systems:
            if any(cell.system == system.name for cell in left):
                self._tune(system, alone)
        for visit in visits(self.size, [*known], names):
            here = [cell for cell in visit if cell in left]
            if here:
                self.reference(here[0].repeat)
                self._visit(known[here[0].system], here, alone)

    def crowds(self) -> None:
        """Muse's table, as far as it is left. Raises `OutOfTime`."""
        for setting in muse.settings(self.size):
            if muse.is_measured(self.shelf.read(setting.name)):
                continue
            self._check_time()
            _tell(f"Darkroom with {setting.said}, {self.size.users[-1]} users")
            batch = Batch(0, 0.0, setting.workers, max(1, self.size.threads // setting.workers))
            try:
                with self.ground.served(DARKROOM, batch, is_batching=setting.is_batching) as served:
                    self.shelf.write(setting.name, muse.measured(self.size, served.send))
            except FAULTS as error:
                self.shelf.write(setting.name, {"failure": _said(error)})

    def reference(self, repeat: int = 0) -> Mapping[str, float]:
        """Seconds alone of each kind: plain diffusers, one after another, asked over HTTP as all are.

        The first time at each count of threads, of which the quickest stays. What the first time said is held against
        all; later repeats say how far the machine has drifted since.
        """
        kept = self.shelf.read("alone") or {"tried": {}, "repeats": []}
        if not kept["repeats"]:
            for threads in sorted({threads for _, threads in splits(self.size.threads)}):
                kept["tried"][str(threads)] = self._alone(threads)
            kept["threads"] = int(min(kept["tried"], key=lambda each: sum(typical(kept["tried"][each]).values())))
            kept["repeats"].append(kept["tried"][str(kept["threads"])])
        while len(kept["repeats"]) <= repeat:
            kept["repeats"].append(self._alone(kept["threads"]))
        self.shelf.write("alone", kept)
        return typical(kept["repeats"][0])

    def _alone(self, threads: int) -> dict[str, list[float]]:
        self._check_time()
        _tell(f"plain diffusers, one at a time, threads: {threads}")
        kinds = sorted({kind for name in WORKLOADS for kind in workloads.kinds(name)}, key=lambda each: each.kind)
        try:
            with self.ground.served(WINDOWED, Batch(1, 0.0, 1, threads)) as served:
                return {wanted.kind: served.alone_s(wanted) for wanted in kinds}
        except DarkroomError as error:
            raise Broken(error.message) from error

    def _tune(self, system: System, alone: Mapping[str, float]) -> None:
        """What gathers by itself is Darkroom's engine, wherever it runs, and swept once."""
        own = DARKROOM if system.is_gathering else system

        def measure(batch: Batch) -> tuple[float, float, int]:
            self._check_time()
            _tell(f"{own.said} with {batch}")
            load, requests = self.size.tune
            plan = workloads.mixed_load(load, requests, alone, TUNE_SEED)
            try:
                with self.ground.served(own, batch) as served:
                    outcomes = served.send(plan)
            except (NotStarted, Broken) as error:
                if not tries_of(own.name, self.shelf):
                    raise
                _tell(f"not that: {error}")
                return 0.0, 0.0, requests
            kept = within(outcomes, alone, GOOD_FACTOR) / len(outcomes)
            failed = sum(not each.has_succeeded for each in outcomes)
            return kept, statistics.fmean(each.latency_s for each in outcomes), failed

        if system.name in self.absent:
            return
        try:
            self._batches[system.name] = tuned(own.name, self.size, self.shelf, measure, is_gathering=own.is_gathering)
        except FAULTS as error:
            self._leave_out(system, error)

    def _visit(self, system: System, cells: Iterable[Cell], alone: Mapping[str, float]) -> None:
        """A server for as many as it holds through; what is behind a failure gets another."""
        left = list(cells)
        while left and system.name not in self.absent:
            self._check_time()
            batch = self._batch(left[0])
            try:
                with self.ground.served(system, batch) as served:
                    has_failed = False
                    while left and self._batch(left[0]) == batch and not has_failed:
                        self._check_time()
                        found = self._measured(left.pop(0), system, served, alone)
                        self.shelf.keep(found)
                        has_failed = found.failure is not None
            except (NotInstalled, NotStarted) as error:
                self._leave_out(system, error)
        for cell in left:
            kept = self.shelf.found(cell) or Found(cell, about=self._about(cell))
            self.shelf.keep(replace(kept, failure=self.absent[system.name]))

    def _measured(self, cell: Cell, system: System, served: Served, alone: Mapping[str, float]) -> Found:
        """Rungs that were done before a failure stay, and are not climbed again."""
        _tell(f"{system.said} on {cell.workload}, repeat {cell.repeat + 1}")
        about = self._about(cell) | {"server": served.version}
        before = self.shelf.found(cell)
        runs = list(before.runs) if before is not None and before.about.get("batch") == about["batch"] else []
        try:
            _climb(runs, served, cell, self.size, alone)
        except (Broken, TimeoutError) as error:
            if isinstance(error, TimeoutError):  # it would be again, for ten minutes each
                self._leave_out(system, error)
            return Found(cell, runs, _said(error), about)
        return Found(cell, runs, about=about)

    def _batch(self, cell: Cell) -> Batch:
        """W6 is of equals only: there the largest batch is every batcher's best."""
        batch = self._batches[cell.system]
        return replace(batch, most=max(self.size.most)) if cell.workload == "W6" and batch.most else batch

    def _about(self, cell: Cell) -> dict[str, Any]:
        return {
            "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": revision(),
            "batch": asdict(self._batch(cell)) if cell.system in self._batches else None,
        }

    def _leave_out(self, system: System, error: BaseException) -> None:
        self.absent[system.name] = _said(error)
        _tell(f"{system.said} is left out: {_said(error)}")

    def _check_time(self) -> None:
        if time.monotonic() > self.ends_at:
            raise OutOfTime


def installed(systems: Iterable[System], ground: Ground) -> dict[str, str]:
    """Makes the environments, which takes minutes once; says of whom that cannot be, and why."""
    absent = {}
    for system in systems:
        try:
            if system.environment is not None:
                environments.made(system.environment, ground.environments)
        except (NotInstalled, OSError) as error:
            absent[system.name] = _said(error)
    return absent


def typical(alone: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each kind's seconds alone."""
    return {kind: statistics.median(each) for kind, each in alone.items()}


def capacity_of(workload: str, alone: Mapping[str, float]) -> float:
    """Requests a second of that workload that are done one after another."""
    return 1 / sum(share * alone[wanted.kind] for wanted, share in workloads.kinds(workload).items())


def drift(repeats: Sequence[Mapping[str, Sequence[float]]]) -> list[float]:
    """By how much seconds alone of each later repeat differ from those of the first: 0.1 is a tenth longer."""
    first, *later = [sum(typical(each).values()) for each in repeats]
    return [each / first - 1 for each in later]


def _climb(runs: list[Run], served: Served, cell: Cell, size: Size, alone: Mapping[str, float]) -> None:
    """Up the ladder until the system is plainly lost: above that a queue grows, and says nothing. The load of which the
    tail is told is tried in any case. Runs are added as they end."""
    done = {run.load for run in runs}
    is_lost = any(_is_lost(run, alone) for run in runs)
    for part in workloads.parts(cell.workload, size, alone, cell.repeat):
        if part.load in done or (is_lost and part.load != TAIL_LOAD):
            continue
        span_s = part.plan[-1].at_s if part.load is not None else None
        runs.append(Run(part.load, span_s, served.send(part.plan)))
        is_lost = is_lost or _is_lost(runs[-1], alone)


def _is_lost(run: Run, alone: Mapping[str, float]) -> bool:
    return within(run.outcomes, alone, GOOD_FACTOR) < CLIMB_SHARE * len(run.outcomes)


def _said(error: BaseException) -> str:
    return str(error) or "it was stuck"


def _tell(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)

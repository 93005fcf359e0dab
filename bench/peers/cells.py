"""What is to be measured in which order, and what of it is there already: a file for each, so that a run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from darkroom.bench.figures import Outcome
from darkroom.storage.files import write_whole

from .conditions import differing
from .size import WORKLOADS, Size

REPEATED = ("W2",)


class OtherCounts(Exception):
    """What lies there was measured with other counts."""


@dataclass(frozen=True)
class Cell:
    """One system on one workload, for the `repeat`-th time."""

    workload: str
    repeat: int
    system: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.workload}-{self.repeat}-{self.system}"


@dataclass(frozen=True)
class Run:
    """One load: `load` is its share of the serial capacity, `over_s` what its plan spans; None of those at once."""

    load: float | None
    over_s: float | None
    outcomes: Sequence[Outcome]


@dataclass(frozen=True)
class Found:
    """What came of a cell; `failure` is why there is no more. `about` says with what it was measured."""

    cell: Cell
    runs: Sequence[Run] = ()
    failure: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


def visits(size: Size, systems: Sequence[str], workloads: Sequence[str] = WORKLOADS) -> Iterator[list[Cell]]:
    """What is measured of a system in one go. A B A B: all systems in turn, and all again beginning with another, so
    that nobody has the same neighbour in time. What is measured once shares a server."""
    rounds = [[(name, repeat)] for name in workloads if name in REPEATED for repeat in range(size.repeats)]
    once = [(name, 0) for name in workloads if name not in REPEATED]
    for number, here in enumerate([*rounds, *([once] if once else [])]):
        first = number * max(1, len(systems) // size.repeats) % len(systems)
        for system in (*systems[first:], *systems[:first]):
            yield [Cell(workload, repeat, system) for workload, repeat in here]


def order(size: Size, systems: Sequence[str], workloads: Sequence[str] = WORKLOADS) -> Iterator[Cell]:
    """The same, one by one."""
    return chain.from_iterable(visits(size, systems, workloads))


class Shelf:
    """The files of one measurement, each written whole when what it holds is whole."""

    def __init__(self, folder: Path, size: Size, around: Mapping[str, str] | None, *, may_mix: bool = False) -> None:
        """`around` is what figures of one folder have in common beside the counts; None: they are read, not added to.
        Raises `OtherCounts`."""
        self.folder = folder
        if around is None:
            return
        asked = json.loads(json.dumps({"counts": asdict(size), **around}))
        kept = self.read("asked")
        other = differing(kept, asked, may_mix=may_mix) if kept is not None else []
        if other:
            raise OtherCounts(
                f"{folder} was measured with other {', '.join(other)}: remove it, or name another folder with --out"
            )
        if kept is None:
            self.write("asked", asked)

    def read(self, name: str) -> Any:
        """What lies there; None where nothing does."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, name: str, said: Any) -> None:
        """Keep it."""
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(said, indent=1).encode())

    def keep(self, found: Found) -> None:
        """A cell's outcomes, or why there are none."""
        self.write(f"cells/{found.cell.name}", asdict(found))

    def found(self, cell: Cell) -> Found | None:
        """What was kept of it."""
        said = self.read(f"cells/{cell.name}")
        if said is None:
            return None
        runs = [Run(run["load"], run["over_s"], outcomes_of(run["outcomes"])) for run in said["runs"]]
        return Found(cell, runs, said["failure"], said["about"])

    def left(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those to measure: what failed is tried again."""
        return [cell for cell in cells if (found := self.found(cell)) is None or found.failure is not None]


def outcomes_of(said: Sequence[dict[str, Any]]) -> list[Outcome]:
    """From JSON."""
    return [Outcome(**each) for each in said]

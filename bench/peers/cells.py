"""What is to be measured in which order, and what of it is there already: a file for each, so that a run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from darkroom.bench.figures import Outcome
from darkroom.storage.files import write_whole

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
    """What came of a cell; `failure` is why nothing did. `about` says with what it was measured."""

    cell: Cell
    runs: Sequence[Run] = ()
    failure: str | None = None
    about: dict[str, Any] = field(default_factory=dict)


def order(size: Size, systems: Sequence[str], workloads: Sequence[str] = WORKLOADS) -> Iterator[Cell]:
    """A B A B: within a workload all systems in turn, and all of them again."""
    for workload in workloads:
        for repeat, system in product(range(size.repeats if workload in REPEATED else 1), systems):
            yield Cell(workload, repeat, system)


class Shelf:
    """The files of one measurement, each written whole when what it holds is whole."""

    def __init__(self, folder: Path, size: Size) -> None:
        """Raises `OtherCounts`."""
        self.folder, asked = folder, json.loads(json.dumps(asdict(size)))
        if self.read("asked") not in (None, asked):
            raise OtherCounts(f"{folder} was measured with other counts: remove it, or name another folder with --out")
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

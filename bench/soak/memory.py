"""What each process holds of its own, over time, whether that grows, and whether one ended that nobody killed."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, linear_regression

import psutil

MIB = 1024**2
RESTART_S = 120.0  # for the one that was killed last to be replaced
Samples = dict[str, list[tuple[float, float]]]


@dataclass
class Watch:
    """Samples of a service's processes; `kill` ends its youngest worker, so that the oldest lives all the time.

    Each series has (seconds since the start, how much): of a process the MiB that it shares with nobody, and its open
    file descriptors; of `home` the MiB on disk. `expected` says how many processes of a kind there are; another one is
    a fault, unless it came for one that was killed here.
    """

    supervisor: psutil.Process
    home: Path
    expected: Mapping[str, int]
    every_s: float
    kill_every_s: float
    memory: Samples = field(default_factory=lambda: defaultdict(list))
    descriptors: Samples = field(default_factory=lambda: defaultdict(list))
    disk: list[tuple[float, float]] = field(default_factory=list)
    kills: int = 0
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def pids(self, kind: str) -> set[str]:
        """Of all processes of a kind that were seen."""
        return {name.split()[1] for name in self.memory if name.split()[0] == kind}

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # budget: nobody reads a thread's end, and all that comes after would pass unseen
            self.faults.append(f"the watch ended early: {type(error).__name__}: {error}")

    def _watch(self) -> None:
        began = killed = time.monotonic()
        while not self._stopping.wait(self.every_s):
            self._sample(time.monotonic() - began)
            if time.monotonic() - killed > self.kill_every_s and self._kill():
                killed = time.monotonic()
        self._see_all(began, time.monotonic() + RESTART_S)

    def _see_all(self, began: float, until: float) -> None:
        """Wait for the one that takes a killed one's place, then tell what ended by itself."""
        while time.monotonic() < until and any(self._missing(kind) for kind in self.expected):
            self._sample(time.monotonic() - began)
            time.sleep(min(1.0, self.every_s))
        for kind in self.expected:
            if self._missing(kind):
                said = f"{len(self.pids(kind))} of the {kind} were seen, where {self._due(kind)} were to be"
                self.faults.append(f"ended or not begun again: {said}")

    def _due(self, kind: str) -> int:
        return self.expected[kind] + (self.kills if kind == "worker" else 0)

    def _missing(self, kind: str) -> bool:
        return len(self.pids(kind)) != self._due(kind)

    def _sample(self, at_s: float) -> None:
        for process in [self.supervisor, *self.supervisor.children()]:  # without its supervisor there is no service
            try:
                name = self._name(process)
                memory, descriptors = process.memory_full_info().uss / MIB, float(process.num_fds())
            except psutil.Error:  # it has just ended
                continue
            self.memory[name].append((at_s, memory))
            self.descriptors[name].append((at_s, descriptors))
        self.disk.append((at_s, size_of(self.home) / MIB))

    def _kill(self) -> bool:
        """Never the oldest, whose memory is told; whether there was one."""
        found = [child for child in self.supervisor.children() if _is_a("worker", child)]
        if len(found) < 2:
            return False
        youngest = max(found, key=psutil.Process.create_time)  # psutil keeps it of a process that has ended
        if f"worker {youngest.pid}" not in self.memory:
            return False  # not seen yet, and so it would not be missed
        try:
            youngest.kill()
        except psutil.NoSuchProcess:
            return False
        self.kills += 1
        return True

    def _name(self, process: psutil.Process) -> str:
        if process == self.supervisor:
            return "supervisor"
        kind = next((kind for kind in self.expected if _is_a(kind, process)), "other")
        return f"{kind} {process.pid}"


def _is_a(kind: str, process: psutil.Process) -> bool:
    try:
        return kind in process.cmdline()
    except psutil.Error:
        return False


def size_of(folder: Path) -> int:
    """Bytes of all files below; one that goes meanwhile counts as none."""
    found = 0
    for path in folder.rglob("*"):
        try:
            found += path.lstat().st_size
        except OSError:
            continue
    return found


def longest(samples: Samples, kind: str) -> list[tuple[float, float]]:
    """Those of the process of a kind that lived longest."""
    of_kind = [found for name, found in samples.items() if name.split()[0] == kind]
    return max(of_kind, key=lambda found: found[-1][0] - found[0][0], default=[])


def slope(samples: list[tuple[float, float]], after_s: float) -> tuple[float, float]:
    """Growth an hour by least squares over what comes `after_s` (caches fill before), and the mean; NaN: unknown."""
    settled = [sample for sample in samples if sample[0] >= after_s]
    if len(settled) < 2:
        return math.nan, math.nan
    times, sizes = zip(*settled, strict=True)
    return linear_regression(times, sizes).slope * 3600, fmean(sizes)

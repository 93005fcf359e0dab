"""How much memory each process has of its own, over time, and whether that grows."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import fmean, linear_regression

import psutil

MIB = 1024**2
KINDS = ("gateway", "worker")


@dataclass
class Watch:
    """Samples of a service's processes; `kill` ends its youngest worker, so that the oldest lives all the time.

    `samples` has, by process, (seconds since the start, MiB that it shares with nobody).
    """

    supervisor: psutil.Process
    every_s: float
    kill_every_s: float
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    kills: int = 0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        began = killed = time.monotonic()
        while not self._stopping.wait(self.every_s):
            self._sample(time.monotonic() - began)
            if time.monotonic() - killed > self.kill_every_s:
                self._kill()
                killed = time.monotonic()

    def _sample(self, at_s: float) -> None:
        for process in [self.supervisor, *self.supervisor.children()]:
            try:
                self.samples[_name(process, self.supervisor)].append((at_s, process.memory_full_info().uss / MIB))
            except psutil.NoSuchProcess:
                continue

    def _kill(self) -> None:
        """Never the oldest, whose memory is told."""
        workers = sorted(
            (child for child in self.supervisor.children() if "worker" in child.cmdline()),
            key=psutil.Process.create_time,
        )
        if len(workers) > 1:
            workers[-1].kill()
            self.kills += 1


def _name(process: psutil.Process, supervisor: psutil.Process) -> str:
    if process == supervisor:
        return "supervisor"
    words = process.cmdline()
    kind = next((kind for kind in KINDS if kind in words), "other")
    return f"{kind} {process.pid}"


def longest(samples: dict[str, list[tuple[float, float]]], kind: str) -> list[tuple[float, float]]:
    """Those of the process of a kind that lived longest."""
    of_kind = [found for name, found in samples.items() if name.split()[0] == kind]
    return max(of_kind, key=lambda found: found[-1][0] - found[0][0], default=[])


def slope(samples: list[tuple[float, float]], after_s: float) -> tuple[float, float]:
    """MiB an hour by least squares over what comes `after_s` (caches fill before), and the mean MiB."""
    settled = [sample for sample in samples if sample[0] >= after_s]
    times, sizes = zip(*settled, strict=True)
    return linear_regression(times, sizes).slope * 3600, fmean(sizes)

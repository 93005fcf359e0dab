"""The drivers that the contract is run over: for each, how to open one and how to look behind its back.

A kind of driver is a function that takes a `Place`, and yields a `Stage` as a context manager; `KINDS` names them.
Where its part is missing it calls `tests.missing.skip_or_fail` with the reason.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from darkroom.config import FleetSettings, PoolSettings, ServeSettings, Settings, load
from darkroom.fleet.drivers.local import LocalDriver
from darkroom.fleet.nouns import Driver
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Store
from tests.missing import skip_or_fail

from .cluster_kinds import kubernetes, ray

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Place:
    """Where the workers of the contract work: `hold` is a file that keeps them from ending while it is there."""

    settings: Settings
    store: Store
    hold: Path


class Stage(Protocol):
    """A driver's surroundings."""

    lives_on: bool  # whether members outlive their driver, and the next one knows them
    said_broken: str  # a pattern in what `open_broken` raises

    def open(self) -> Driver:
        """A driver; a second one is what a restart brings."""

    def open_broken(self) -> Driver:
        """A driver whose other side does not answer; may itself raise `DriverUnavailable`. It is not closed."""

    def running(self) -> set[str]:
        """Names of the workers that really run."""

    def kill(self, name: str) -> None:
        """End a worker as a fault of its machine would, without a word."""


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Return when it is so."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)


@contextmanager
def place(folder: Path, driver: str) -> Iterator[Place]:
    """Settings and a store in a folder, for a driver of that name."""
    fleet = FleetSettings(driver=driver, pools={"p": PoolSettings(max_workers=8)})  # type: ignore[arg-type]
    serve = ServeSettings(drain_s=PATIENCE_S, store=f"sqlite:///{folder / 'jobs.sqlite3'}")
    settings = load().model_copy(update={"home": folder, "serve": serve, "fleet": fleet})
    store = open_store(settings.store_url)
    try:
        yield Place(settings, store, folder / "hold")
    finally:
        store.close()


class LocalStage:
    """Light processes that heed signals as workers do, forked by the real fork-server."""

    lives_on = False
    said_broken = r"exit code 7\); its log says why"

    def __init__(self, at: Place, stack: ExitStack) -> None:
        self._at, self._stack = at, stack
        self._program = (sys.executable, "-m", "tests.contract.light_worker", str(at.hold))

    def open(self) -> Driver:
        """Its workers are light ones."""
        driver = LocalDriver(self._at.settings, self._at.store, fork_server=self._program)
        self._stack.callback(driver.close)
        return driver

    def open_broken(self) -> Driver:
        """The program ends as soon as it starts."""
        return LocalDriver(self._at.settings, self._at.store, fork_server=(sys.executable, "-c", "raise SystemExit(7)"))

    def running(self) -> set[str]:
        """What they told the store of themselves, of those whose process is there."""
        return set(self._pids())

    def kill(self, name: str) -> None:
        """The way of the out-of-memory killer."""
        os.kill(self._pids()[name], signal.SIGKILL)

    def _pids(self) -> dict[str, int]:
        told = {report.id: int(report.facts["pid"]) for report in self._at.store.workers(0.0)}
        return {name: pid for name, pid in told.items() if _is_running(pid)}


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def local(at: Place) -> Iterator[Stage]:
    """Processes of this machine."""
    if os.name != "posix":
        skip_or_fail("processes are forked on POSIX alone")
    with ExitStack() as stack:
        stack.callback(at.hold.unlink, missing_ok=True)
        yield LocalStage(at, stack)


KINDS: dict[str, Callable[[Place], AbstractContextManager[Stage]]] = {
    "local": local,
    "kubernetes": kubernetes,
    "ray": ray,
}
SLOW = ("ray",)  # a cluster of its own, and three processes for each worker

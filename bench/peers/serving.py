"""A server that runs while it is measured, and requests put to it by the machinery of `darkroom bench`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from bench.service.box import free_port
from darkroom.bench.dialects import Dialect
from darkroom.bench.figures import Outcome
from darkroom.bench.load import Load
from darkroom.bench.plan import Wanted
from darkroom.bench.template import Template
from darkroom.errors import DarkroomError

from . import environments, processes
from .environments import NotInstalled
from .systems import Batch, Place, System
from .workloads import PROMPTS, SIZED, SQUARE, STEPS

START_S = 240.0
PAUSE_S = 0.5
LIMIT_S = 600.0  # of one load, after which a server is taken for stuck


class NotStarted(Exception):
    """Why a server did not answer."""


class Broken(Exception):
    """A server that is there no more, or answers nothing as it should."""


@dataclass(frozen=True)
class Served:
    """A server that answers; `version` is what it says of itself, where that is not its package's."""

    template: Template
    dialect: Callable[[Template], Dialect]
    process: subprocess.Popen[bytes]
    folder: Path
    version: str = ""

    def send(self, plan: Sequence[Wanted]) -> list[Outcome]:
        """Every request of the plan to its end, failed or not. Raises `TimeoutError` where that does not come, and
        `Broken` where the server has ended, or every request failed."""
        outcomes = self._sent(plan)
        if self.process.poll() is not None:
            raise Broken(f"it ended by itself: {processes.last_words(self.folder)}")
        if outcomes and not any(each.has_succeeded for each in outcomes):
            raise Broken(f"every request of {len(outcomes)} failed, the first with {outcomes[0].code}")
        return outcomes

    def _sent(self, plan: Sequence[Wanted]) -> list[Outcome]:

        async def run() -> list[Outcome]:
            dialect = self.dialect(self.template)
            try:
                return await asyncio.wait_for(Load(dialect).run(plan, lambda _: None), LIMIT_S)
            finally:
                await dialect.close()

        return asyncio.run(run())

    def alone_s(self, wanted: Wanted) -> list[float]:
        """Latencies of such requests with nobody beside them."""

        async def run() -> list[float]:
            dialect = self.dialect(self.template)
            try:
                return await Load(dialect).solo_s(wanted)
            finally:
                await dialect.close()

        return asyncio.run(run())


@dataclass(frozen=True)
class Ground:
    """Where servers run: below `folder`, warmed by so many requests of each size at once."""

    folder: Path
    environments: Path
    warm: int = 12

    @contextmanager
    def served(self, system: System, batch: Batch, *, is_batching: bool = True) -> Iterator[Served]:
        """The system, warm, in an empty folder: nobody finds what an earlier run left. Raises `NotInstalled` and
        `NotStarted`."""
        environment = None
        if system.environment is not None:
            environment = environments.made(system.environment, self.environments)
        home = self.folder / "homes" / system.name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        place = Place(home, free_port(), environment, batch, is_batching)
        with started(system, place) as served:
            _warm(served, self.warm)
            yield served


@contextmanager
def started(system: System, place: Place) -> Iterator[Served]:
    """The system at that place, once it has drawn a picture. Raises `NotInstalled` and `NotStarted`."""
    try:
        start = system.start(place)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotInstalled(f"{type(error).__name__}: {error}") from error
    url = f"http://127.0.0.1:{place.port}"
    with processes.running(start.command, place.folder, place.around | dict(start.around)) as process:
        served = Served(system.template(url), system.dialect, process, place.folder)
        _wait(process, served, place.folder)
        yield replace(served, version=_version(f"{url}{system.about}") if system.about else "")


def _version(url: str) -> str:
    """What a server says of itself. Raises `NotStarted`."""
    try:
        said = httpx.get(url, timeout=10).raise_for_status().json()
    except httpx.HTTPError as error:
        raise NotStarted(f"it does not say its version: {error}") from error
    return f"{said['name']} {said['version']}"


def _wait(process: subprocess.Popen[bytes], served: Served, home: Path) -> None:
    """Until it has drawn a picture."""
    began = time.monotonic()
    asked = Wanted(0, 0.0, 2, PROMPTS[0], 0, guidance=5.0, size=SQUARE)
    while True:
        try:
            served.alone_s(asked)
            print(f"ready after {time.monotonic() - began:.1f} s", file=sys.stderr)
            return
        except DarkroomError as error:
            if process.poll() is not None:
                raise NotStarted(f"it ended by itself: {processes.last_words(home)}") from error
            if time.monotonic() - began > START_S:
                raise NotStarted(f"no picture within {START_S:g} s: {error.message}") from error
        time.sleep(PAUSE_S)


def _warm(served: Served, count: int) -> None:
    """What runs first in a size or a batch is slower: everybody has done it before it counts."""
    first = Wanted(0, 0.0, STEPS[0], PROMPTS[0], 0, guidance=5.0, size=SQUARE)
    for size in dict.fromkeys(size for size, _ in SIZED):
        try:
            outcomes = served.send([replace(first, number=number, seed=number, size=size) for number in range(count)])
        except (Broken, TimeoutError) as error:
            raise NotStarted(f"while it was warmed: {str(error) or 'it was stuck'}") from error
        failed = [each.code for each in outcomes if not each.has_succeeded]
        if failed:
            raise NotStarted(
                f"while it was warmed {len(failed)} of {count} requests failed, the first with {failed[0]}"
            )

"""Sends a plan's requests at their moments, whatever became of those before, and notes what becomes of each. Or plays a
crowd, in which each waits for an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from ..errors import DarkroomError
from .dialects import Dialect
from .figures import Outcome
from .plan import Crowd, Mix, Wanted, at_once

TELL_S = 0.5
SOLO_TIMES = 3
WARM_AT_ONCE = 12
CAPACITY_REQUESTS = 24
REFUSED_S = 0.5  # a user who was refused does not ask again at once


@dataclass
class Progress:
    """How far a run is; `planned` is None where only the time ends it, `latencies` are of what succeeded."""

    planned: int | None
    sent: int = 0
    ended: int = 0
    failed: int = 0
    elapsed_s: float = 0.0
    latencies: list[float] = field(default_factory=list)


Tell = Callable[[Progress], None]


class Load:
    """Requests to one service."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def solo_s(self, wanted: Wanted) -> list[float]:
        """Latencies of such requests with nobody beside them. Raises what ended one."""
        found = []
        for number in range(SOLO_TIMES):
            [outcome] = await self.run([replace(wanted, number=number, at_s=0.0, seed=number)])
            found.append(outcome.latency_s)
        return found

    async def capacity(self, mix: Mix) -> float:
        """Requests a second where all of them are there from the start, ends included. Raises what ended one."""
        outcomes = await self.run(at_once(CAPACITY_REQUESTS, mix, seed=0))
        return len(outcomes) / max(outcome.latency_s for outcome in outcomes)

    async def warm(self, kinds: Sequence[Wanted]) -> None:
        """One request of each kind, so that nobody's first measures a model being loaded."""
        for at in range(0, len(kinds), WARM_AT_ONCE):
            await self.run([replace(wanted, at_s=0.0) for wanted in kinds[at : at + WARM_AT_ONCE]])

    async def run(self, plan: Sequence[Wanted], tell: Tell | None = None) -> list[Outcome]:
        """Every request of the plan to its end; without `tell` the first failure is raised."""
        run = _Run(time.monotonic(), Progress(len(plan)))
        async with _telling(run, tell), asyncio.TaskGroup() as group:
            tasks = []
            for wanted in plan:
                await asyncio.sleep(max(0.0, run.began + wanted.at_s - time.monotonic()))
                tasks.append(group.create_task(self._one(wanted, run)))
        if tell is None and run.error is not None:
            raise run.error
        return [task.result() for task in tasks]

    async def play(self, crowd: Crowd, asked: Iterator[Wanted], tell: Tell) -> list[Outcome]:
        """The requests that a crowd makes of those that are asked for, in the order in which they were sent."""
        run = _Run(time.monotonic(), Progress(crowd.requests))
        found: list[Outcome] = []
        async with _telling(run, tell), asyncio.TaskGroup() as group:
            for _ in range(crowd.users):
                group.create_task(self._user(crowd, asked, run, found))
        return sorted(found, key=lambda outcome: outcome.number)

    async def _user(self, crowd: Crowd, asked: Iterator[Wanted], run: _Run, found: list[Outcome]) -> None:
        while run.progress.sent < (crowd.requests or float("inf")) and run.now_s() < (crowd.duration_s or float("inf")):
            outcome = await self._one(replace(next(asked), at_s=run.now_s()), run)
            found.append(outcome)
            await asyncio.sleep(max(crowd.think_s, 0.0 if outcome.has_succeeded else REFUSED_S))

    async def _one(self, wanted: Wanted, run: _Run) -> Outcome:
        outcome = Outcome(wanted.number, wanted.kind, wanted.at_s, run.now_s(), tenant=wanted.tenant)
        run.progress.sent += 1
        try:
            answered = await self._dialect.ask(wanted, run.now_s)
        except DarkroomError as error:
            run.error = run.error or error
            outcome = replace(outcome, ended_s=run.now_s(), code=error.code)
        else:
            run.error = run.error or answered.error
            outcome = replace(
                outcome,
                first_step_s=answered.first_step_s,
                ended_s=answered.ended_s,
                code=None if answered.error is None else answered.error.code,
                images=answered.images,
                device_s=answered.device_s,
                cost_usd=answered.cost_usd,
            )
        run.note(outcome)
        return outcome


@dataclass
class _Run:
    began: float
    progress: Progress
    error: DarkroomError | None = None  # the first

    def now_s(self) -> float:
        return time.monotonic() - self.began

    def note(self, outcome: Outcome) -> None:
        self.progress.ended += 1
        if outcome.has_succeeded:
            self.progress.latencies.append(outcome.latency_s)
        else:
            self.progress.failed += 1


@asynccontextmanager
async def _telling(run: _Run, tell: Tell | None) -> AsyncGenerator[None]:
    async def keep_telling() -> None:
        while tell is not None:
            run.progress.elapsed_s = run.now_s()
            tell(run.progress)
            await asyncio.sleep(TELL_S)

    teller = asyncio.create_task(keep_telling())
    try:
        yield
    finally:
        teller.cancel()
        await asyncio.wait([teller])
        if tell is not None:
            run.progress.elapsed_s = run.now_s()
            tell(run.progress)

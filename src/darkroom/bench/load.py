"""Sends a plan's requests at their moments, whatever became of those before, and notes what becomes of each."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from ..client.asynchronous import AsyncClient
from ..client.nouns import Job
from ..errors import DarkroomError
from .figures import Outcome
from .plan import Mix, Wanted, at_once

TELL_S = 0.5
SOLO_TIMES = 3
CAPACITY_REQUESTS = 24


@dataclass
class Progress:
    """How far a run is."""

    planned: int
    sent: int = 0
    ended: int = 0
    failed: int = 0
    elapsed_s: float = 0.0


Tell = Callable[[Progress], None]


class Load:
    """Requests to one service. `submitting` asks once: a refusal under load is a figure. `following` asks again: a
    stream that breaks is no end of its job."""

    def __init__(self, submitting: AsyncClient, following: AsyncClient, mix: Mix) -> None:
        self._submitting, self._following, self._mix = submitting, following, mix

    async def solo_s(self, steps: int) -> list[float]:
        """Latencies of requests of that step count with nobody beside them. Raises what ended one."""
        found = []
        for wanted in at_once(SOLO_TIMES, replace(self._mix, steps=(steps,)), seed=steps):
            [outcome] = await self.run([wanted])
            found.append(outcome.latency_s)
        return found

    async def capacity(self) -> float:
        """Requests a second where all of them are there from the start, ends included. Raises what ended one."""
        outcomes = await self.run(at_once(CAPACITY_REQUESTS, self._mix, seed=0))
        return len(outcomes) / max(outcome.latency_s for outcome in outcomes)

    async def warm(self) -> None:
        """One request of each step count, so that nobody's first measures a model being loaded."""
        await self.run(at_once(len(self._mix.steps), self._mix, seed=1))

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

    async def _one(self, wanted: Wanted, run: _Run) -> Outcome:
        outcome = Outcome(wanted.number, wanted.steps, wanted.at_s, run.now_s())
        run.progress.sent += 1
        try:
            outcome = await self._follow(wanted, outcome, run)
        except DarkroomError as error:
            run.error = run.error or error
            outcome = replace(outcome, ended_s=run.now_s(), code=error.code)
        run.progress.ended += 1
        run.progress.failed += not outcome.has_succeeded
        return outcome

    async def _follow(self, wanted: Wanted, outcome: Outcome, run: _Run) -> Outcome:
        job = await self._submit(wanted)
        first_s = ended_s = None
        try:
            async for event in self._following.events(job):
                if first_s is None and event.type == "progress":
                    first_s = run.now_s()
                ended_s = run.now_s()
        except asyncio.CancelledError:
            await self._leave(job)
            raise
        ended = await self._following.get(job)
        return replace(
            outcome,
            first_step_s=first_s,
            ended_s=ended_s,
            code=run.code_of(ended),
            images=len(ended.outputs),
            device_s=ended.metrics.get("device_s"),
            cost_usd=ended.metrics.get("cost_usd"),
        )

    async def _submit(self, wanted: Wanted) -> Job:
        submitting = asyncio.ensure_future(self._ask_for(wanted))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            with contextlib.suppress(DarkroomError):
                await self._leave(await submitting)  # the service may have it by now, and only the answer says its id
            raise

    async def _ask_for(self, wanted: Wanted) -> Job:
        return await self._submitting.submit(
            wanted.prompt,
            model=self._mix.model,
            num_inference_steps=wanted.steps,
            num_images_per_prompt=self._mix.images,
            seed=wanted.seed,
        )

    async def _leave(self, job: Job) -> None:
        """Somebody pressed Ctrl-C: leave the service nothing to do for nobody."""
        with contextlib.suppress(DarkroomError):
            await self._following.cancel(job)


@dataclass
class _Run:
    began: float
    progress: Progress
    error: DarkroomError | None = None  # the first

    def now_s(self) -> float:
        return time.monotonic() - self.began

    def code_of(self, job: Job) -> str | None:
        """Why a job did not succeed; None where it did."""
        try:
            job.raise_for_state()
        except DarkroomError as error:
            self.error = self.error or error
            return error.code
        return None


def typical(latencies: Sequence[float]) -> float:
    """What a request takes alone: the median."""
    return statistics.median(latencies)


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

"""The load of `darkroom bench` against a real gateway whose worker the test plays, or leaves out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom import AsyncClient, errors
from darkroom.bench.dialects import Native
from darkroom.bench.load import Load, Progress
from darkroom.bench.plan import Arrivals, Mix, at_once, plan_of
from darkroom.jobs.store import JobFilter

from .cutting_proxy import CuttingProxy, cutting
from .gateway_site import Site, open_site

MIX = Mix((4,))


@asynccontextmanager
async def loading(site: Site) -> AsyncIterator[Load]:
    async with AsyncClient(site.url, retries=0) as submitting, AsyncClient(site.url) as following:
        yield Load(Native(submitting, following))


def states(site: Site) -> list[str]:
    return [job.state.value for job in site.store.list_jobs(JobFilter()).jobs]


def test_arrivals_wait_for_nobody_and_an_interrupt_leaves_no_work(tmp_path: Path) -> None:
    plan = plan_of(Arrivals("poisson", 20.0, requests=12), MIX, seed=1)

    async def play(site: Site) -> Progress:
        told: list[Progress] = []
        async with loading(site) as load:
            running = asyncio.create_task(load.run(plan, told.append))
            end = time.monotonic() + 60
            while len(states(site)) < len(plan):  # nothing ever ends, and all are sent
                assert time.monotonic() < end
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        return told[-1]

    with open_site(tmp_path) as site:
        last = asyncio.run(play(site))
        assert (last.sent, last.ended) == (12, 0)
        assert states(site) == ["cancelled"] * 12


def test_an_interrupt_leaves_no_work_of_a_submission_that_is_under_way(tmp_path: Path) -> None:
    async def play(site: Site, proxy: CuttingProxy) -> None:
        async with AsyncClient(proxy.url, retries=0) as submitting, AsyncClient(site.url) as following:
            load = Load(Native(submitting, following))
            running = asyncio.create_task(load.run(at_once(3, MIX, seed=1), lambda _: None))
            while len(states(site)) < 3:
                await asyncio.sleep(0.02)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    def hold_back(asked: str, before: bytes, now: bytes) -> None:
        time.sleep(1.0)  # the job is there, and nobody knows its id

    with open_site(tmp_path) as site, cutting(site.url) as proxy:
        proxy.rule = hold_back
        asyncio.run(play(site, proxy))
        assert states(site) == ["cancelled"] * 3


def test_the_first_step_is_one_that_is_done_and_no_claim(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        async with loading(site) as load:
            running = asyncio.create_task(load.run(at_once(2, MIX, seed=1), lambda _: None))
            while len(states(site)) < 2:
                await asyncio.sleep(0.02)
            (_, first), (_, second) = site.claim(), site.claim()
            site.complete(second)
            await asyncio.sleep(1.0)
            site.step(first, 1)
            await asyncio.sleep(0.3)
            site.complete(first)
            delays = [outcome.first_step_s for outcome in await running]
        assert sorted(delay is None for delay in delays) == [False, True]
        assert max(delay or 0.0 for delay in delays) >= 1.0

    with open_site(tmp_path) as site:
        asyncio.run(play(site))


def test_a_job_counts_once_all_that_was_asked_for_is_fetched(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        async with loading(site) as load:
            plan = [replace(wanted, images=wanted.number + 1) for wanted in at_once(3, Mix((4,)), seed=1)]
            running = asyncio.create_task(load.run(plan, lambda _: None))
            while len(states(site)) < 3:
                await asyncio.sleep(0.02)
            for _ in plan:
                job, lease = site.claim()
                count = job.input["num_images_per_prompt"]
                outputs = [site.put_output(lease)] if count < 3 else []
                if count == 1:
                    site.storage.delete([outputs[0].key])
                site.store.complete(lease, outputs, {}, time.time())
            codes = [outcome.code for outcome in await running]
        assert codes[0] is not None  # its picture is gone
        assert codes[1:] == ["too_few_images"] * 2

    with open_site(tmp_path) as site:
        asyncio.run(play(site))


def test_what_is_refused_is_a_figure_and_is_not_sent_again(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        async with loading(site) as load:
            running = asyncio.create_task(load.run(at_once(6, MIX, seed=1), lambda _: None))
            while len(states(site)) < 2:
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.5)  # who asked again would be in the queue by now
            for job in site.store.list_jobs(JobFilter()).jobs:
                site.store.cancel(job.id, time.time())
            codes = [outcome.code for outcome in await running]
        assert sorted(code or "" for code in codes) == ["cancelled"] * 2 + ["queue_full"] * 4
        assert len(states(site)) == 2

    with open_site(tmp_path, max_queued=2) as site:
        asyncio.run(play(site))


def test_without_anybody_to_tell_the_first_failure_is_raised(tmp_path: Path) -> None:
    async def play(site: Site) -> None:
        async with loading(site) as load:
            with pytest.raises(errors.UnknownModel):
                await load.capacity(Mix((4,), model="nobody"))

    with open_site(tmp_path) as site:
        asyncio.run(play(site))

"""Those who count events hear of each once, also of those that the store kept them from."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

from darkroom.core import Event, NewJob
from darkroom.errors import StoreUnavailable
from darkroom.gateway.events import Feed
from darkroom.gateway.threads import Threads
from darkroom.jobs.opening import open_store

PATIENCE_S = 60.0


def test_what_the_store_kept_a_listener_from_is_told_once_it_is_back(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    beside: list[str] = []
    failures = ["first", "again"]

    def hear(job_id: str, event: Event) -> None:
        if job_id == "job-1" and failures:
            raise StoreUnavailable(failures.pop())
        told.append((job_id, event.type))

    async def play() -> None:
        with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")) as store:
            threads = Threads()
            feed = Feed(store, threads, (hear, lambda job_id, _: beside.append(job_id)))
            feed.start()
            await feed.settle()
            jobs = [NewJob(f"job-{k}", "local", "landscapes", "text-to-image", {"prompt": "x"}) for k in range(3)]
            store.insert(jobs, time.time())
            end = time.monotonic() + PATIENCE_S
            while len(told) < 3 or len(beside) < 3:
                assert time.monotonic() < end, (told, beside)
                await asyncio.sleep(0.01)
            await feed.settle()
            await asyncio.to_thread(feed.stop)
            threads.close()

    asyncio.run(play())
    assert not failures
    assert sorted(told) == [(f"job-{k}", "queued") for k in range(3)]
    assert sorted(beside) == [f"job-{k}" for k in range(3)]

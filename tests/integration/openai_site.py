"""OpenAI's own package against a gateway whose worker is the test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import openai

from darkroom.core import Job, Lease
from darkroom.jobs.store import Claimant

from .gateway_site import PATIENCE_S, WORKER, Site, wait_until

PREVIEW = "data:image/jpeg;base64,QUJD"


def client_of(site: Site, **said: Any) -> openai.OpenAI:
    """The package with an address and a key; it does not try again unless told to, and leaves no connection open."""
    http = openai.DefaultHttpxClient(limits=httpx2.Limits(max_keepalive_connections=0), timeout=PATIENCE_S)
    ours = {"base_url": f"{site.url}/v1", "api_key": "dk-none", "max_retries": 0, "http_client": http}
    return openai.OpenAI(**{**ours, **said})


def next_job(site: Site) -> tuple[Job, Lease]:
    """The next job, as soon as there is one."""
    wait_until(lambda: site.store.queue().queued > 0)
    return site.claim()


@contextmanager
def worker(site: Site, end: Callable[[Site, Lease], object] | None = None) -> Iterator[list[Job]]:
    """A worker that takes each job, leaves it in the list and ends it, with a picture unless told otherwise."""
    taken: list[Job] = []
    stopping = threading.Event()

    def work() -> None:
        while not stopping.is_set():
            claimed = site.store.claim(Claimant(WORKER, ("landscapes",), ("landscapes",)), 1, time.time())
            for job in claimed:
                taken.append(job)
                (end or Site.complete)(site, Lease(job.id, job.fence))
            time.sleep(0 if claimed else 0.01)

    thread = threading.Thread(target=work, name="test-worker")
    thread.start()
    try:
        yield taken
    finally:
        stopping.set()
        thread.join()


def failing(code: str, message: str = "it did not work", field: str | None = None) -> Callable[[Site, Lease], object]:
    """How a worker ends a job with an error for good."""
    said: Mapping[str, Any] = {"code": code, "message": message, "field": field}
    return lambda site, lease: site.store.fail(lease, said, {}, time.time(), None)

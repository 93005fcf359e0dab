"""The control: the gateway's own code up to the store, which answers at once and keeps nothing.

What is left between it and the real one is the price of durability. `python -m bench.service.control PORT`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import uvicorn

from darkroom import config
from darkroom.core import Job, JobState, NewJob
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.store import Queue
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import open_storage


class Forgetful:
    """Says of each job that it is queued, and forgets it; the verbs that submissions need, and no others."""

    def insert(
        self, jobs: Sequence[NewJob], now: float, max_queued: int | None = None, max_scheduled: int | None = None
    ) -> list[Job | Exception]:
        return [queued(job, now) for job in jobs]

    def position(self, job_id: str) -> tuple[int, float] | None:
        return 0, 0.0

    def positions(self, job_ids: Sequence[str]) -> list[tuple[int, float] | None]:
        return [(0, 0.0)] * len(job_ids)

    def workers(self, since: float) -> list[Any]:
        return []

    def queue(self) -> Queue:
        return Queue(0, 0, 0, 0.0, None, {})

    def tail(self, after: int | None, timeout_s: float) -> tuple[int, list[Any]]:
        import time

        time.sleep(timeout_s)
        return 0, []

    def keys(self) -> list[Any]:
        return []

    def due_deliveries(self, now: float, limit: int, hold_s: float) -> list[Any]:
        return []

    def check(self) -> None:
        """Always there."""


def queued(job: NewJob, now: float) -> Job:
    """The row that a store would have made."""
    return Job(
        id=job.id,
        state=JobState.QUEUED,
        tenant=job.tenant,
        model=job.model,
        task=job.task,
        input=job.input,
        output=job.output,
        metadata=job.metadata,
        warnings=job.warnings,
        priority=job.priority,
        rank=0.0,
        cost_s=job.cost_s,
        steps=job.steps,
        step=0,
        attempt=0,
        max_attempts=job.max_attempts,
        fence=0,
        worker=None,
        is_suspect=False,
        is_cancelling=False,
        lease_until=None,
        deadline_at=job.deadline_at,
        run_at=job.run_at,
        webhook=job.webhook,
        idempotency_key=job.idempotency_key,
        request_id=job.request_id,
        times={"created": now, "queued": now},
        outputs=(),
        metrics={},
        errors=(),
    )


def main(port: int) -> None:
    """Serve until ended."""
    settings = config.load()
    settings.home.mkdir(parents=True, exist_ok=True)
    store: Any = Forgetful()
    parts = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings))
    uvicorn.run(build_app(parts), host="127.0.0.1", port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main(int(sys.argv[1]))

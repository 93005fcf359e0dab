"""Whose a job is: asked of the store once a job, not once an event, and kept for the jobs that were heard of last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from ..core import Event
from ..jobs.store import Noted, Store

KEPT = 20_000  # jobs


class Owners:
    """Used from several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def told(self, noted: Iterable[Noted]) -> list[tuple[str | None, Event]]:
        """Events with their jobs' ids among their data, each with its job's tenant (None: the job is gone).

        Raises `StoreUnavailable`.
        """
        return [(self._owner(each.job_id), _with_job(each)) for each in noted]

    def _owner(self, job_id: str) -> str | None:
        with self._lock:
            if job_id in self._known:
                self._known.move_to_end(job_id)
                return self._known[job_id]
        job = self._store.get(job_id)
        return None if job is None else self._keep(job_id, job.tenant)

    def _keep(self, job_id: str, tenant: str) -> str:
        with self._lock:
            self._known[job_id] = tenant
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return tenant


def _with_job(noted: Noted) -> Event:
    event = noted.event
    return Event(event.seq, event.at, event.type, {"job_id": noted.job_id, **event.data})

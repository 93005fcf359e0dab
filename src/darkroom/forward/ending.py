"""How an attempt ends, as our store hears of it; a store that is away is asked again until it answers.

nothing raised                          complete
JobCancelled, a client wants it         confirm_cancelled
storage away, the job is lost there     fail with retry_at: another attempt after a pause
what the other Darkroom or we refuse    fail, with the code and the words of whoever refused
handed back, lease lost                 nothing: whoever took it away has written
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..core import Job, JobState
from ..errors import (
    DarkroomError,
    InvariantBroken,
    LeaseLost,
    StorageUnavailable,
    StoreUnavailable,
    Unavailable,
)
from ..jobs.store import Store
from ..storage.objects import Storage, prefix_for_outputs
from ..worker.attempt import Stop
from ..worker.claiming import pause_s
from ..worker.events import AttemptEnded, LeaseWasLost, StoreFailed, Tell
from .attempt import Attempt

log = logging.getLogger(__name__)
T = TypeVar("T")

PASSING = (Unavailable, InvariantBroken)  # a fault over there is no fault of the job's
ASK_AGAIN_S = (0.1, 5.0)  # the first pause while the store is away, and the longest


class Endings:
    """Writes ends; `retry_s` is the pause before a second attempt. Nothing is asked of the store again once `giving_up`
    is set."""

    def __init__(
        self, store: Store, storage: Storage, *, retry_s: float, tell: Tell, giving_up: threading.Event
    ) -> None:
        self._store, self._storage, self._tell = store, storage, tell
        self._retry_s, self._giving_up = retry_s, giving_up

    def complete(self, attempt: Attempt) -> None:
        """running -> succeeded."""
        attempt.begin_ending()
        attempt.check()
        metrics = metrics_of(attempt)
        try:
            self._persist(lambda: self._store.complete(attempt.lease, attempt.outputs, metrics, time.time()))
        except LeaseLost:
            if not self._is_completed(attempt):
                raise
        self._remove([key_for_wish(attempt.job)])
        self._note(attempt, "succeeded")

    def fail(self, attempt: Attempt, error: BaseException) -> None:
        """However it ends that something was raised."""
        why = attempt.begin_ending()
        try:
            if why == Stop.HANDED_BACK:
                self._note(attempt, why)
            elif why == Stop.LOST or isinstance(error, LeaseLost):
                self._lose(attempt)
            elif why == Stop.CANCELLED:
                self._confirm_cancelled(attempt)
            else:
                self._fail(attempt, error)
        except LeaseLost:
            self._lose(attempt)
        except StoreUnavailable as away:
            log.warning("its end was not written, the lease returns it: %s", away)
            self._note(attempt, Stop.LOST, away)

    def _confirm_cancelled(self, attempt: Attempt) -> None:
        metrics = metrics_of(attempt)
        self._persist(lambda: self._store.confirm_cancelled(attempt.lease, metrics, time.time()))
        self._remove([*attempt.keys, key_for_wish(attempt.job)])
        self._note(attempt, Stop.CANCELLED)

    def _fail(self, attempt: Attempt, error: BaseException) -> None:
        metrics, said = metrics_of(attempt), told(error, attempt)
        # What failed over there was tried there as often as it may be.
        is_final = attempt.ended is not None and attempt.ended.state != JobState.SUCCEEDED
        retry_at = None if is_final or not isinstance(error, PASSING) else self._retry_at(attempt)
        if not isinstance(error, DarkroomError):
            log.error("it could not be forwarded", exc_info=error)
        job = self._persist(lambda: self._store.fail(attempt.lease, said, metrics, time.time(), retry_at))
        has_failed = job.state == JobState.FAILED
        self._remove([*attempt.keys, *([key_for_wish(attempt.job)] if has_failed else [])])
        self._note(attempt, "failed" if has_failed else "retried", error)

    def _retry_at(self, attempt: Attempt) -> float:
        return time.time() + pause_s(attempt.job.attempt, self._retry_s, random.random())

    def _lose(self, attempt: Attempt) -> None:
        """Another claim followed: nothing of this one stays. What is asked over there stays, for that claim's sake."""
        self._remove(attempt.keys)
        self._tell(LeaseWasLost(attempt.job.id))
        self._note(attempt, Stop.LOST)

    def _remove(self, keys: list[str]) -> None:
        with contextlib.suppress(StorageUnavailable):  # they lie under the job's own prefix, and go with it
            self._storage.delete(keys)

    def _is_completed(self, attempt: Attempt) -> bool:
        """Whether it was this claim that completed it: the answer to an earlier asking may have been lost."""
        job = self._persist(lambda: self._store.get(attempt.job.id))
        return job is not None and job.state == JobState.SUCCEEDED and job.fence == attempt.job.fence

    def _persist(self, write: Callable[[], T]) -> T:
        """Ask until the store answers, or the forwarder gives up."""
        delay_s, longest_s = ASK_AGAIN_S
        while True:
            try:
                return write()
            except StoreUnavailable:
                self._tell(StoreFailed("writing the end of a job"))
                if self._giving_up.wait(delay_s):
                    raise
            delay_s = min(2 * delay_s, longest_s)

    def _note(self, attempt: Attempt, status: str, error: BaseException | None = None) -> None:
        job, seconds = attempt.job, time.monotonic() - attempt.claimed_at
        code = told(error, attempt)["code"] if error is not None else None
        ids = (job.id, job.model, job.attempt, job.request_id)
        metrics = metrics_of(attempt)
        self._tell(AttemptEnded(*ids, str(status), seconds, attempt.step, code, metrics, job.traceparent))


def key_for_wish(job: Job) -> str:
    """Where what was asked over there is kept: among the job's outputs, and so removed with them."""
    return f"{prefix_for_outputs(job.id)}/forwarded.json"


def told(error: BaseException, attempt: Attempt) -> Mapping[str, Any]:
    """An error as its job keeps it: in the words of whoever refused, without the address of the service behind us."""
    if isinstance(error, DarkroomError):
        return {"code": error.code, "message": attempt.backend.masked(error.message), "field": error.field}
    text = f"it could not be forwarded: {type(error).__name__}"
    return {"code": InvariantBroken.code, "message": text, "field": None}


def metrics_of(attempt: Attempt) -> Mapping[str, float]:
    """What it took over there, and the ways there and back; nothing where it never ended there."""
    ended = attempt.ended
    if ended is None:
        return {}
    there = {name: value for name, value in ended.metrics.items() if isinstance(value, int | float)}
    times = attempt.job.times
    waited_s = max(0.0, times.get("started", 0.0) - times.get("queued", times.get("started", 0.0)))
    return {
        **there,
        "queued_s": waited_s + there.get("queued_s", 0.0),
        "upload_s": attempt.fetch_s + there.get("upload_s", 0.0),
    }

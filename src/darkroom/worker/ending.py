"""How an attempt ends, as the store hears of it: completed, failed or tried again, cancelled; or nothing at all.

    nothing raised                      complete
    JobCancelled, a client wants it     confirm_cancelled
    storage away, out of memory         fail with retry_at: another attempt after a pause
    anything else                       fail
    handed back, lease lost             nothing: whoever took it away has written
    the engine or its device is broken  nothing: the worker dies, and its death is charged as any other

A store that is away is asked again until it answers; the lease decides whether the answer still counts.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ..core import JobState
from ..errors import (
    DarkroomError,
    EngineBroken,
    EngineClosed,
    InvariantBroken,
    LeaseLost,
    OutOfMemory,
    StorageUnavailable,
    StoreUnavailable,
)
from ..jobs.store import Store
from .attempt import Attempt, Stop
from .claiming import pause_s
from .events import AttemptEnded, LeaseWasLost, StoreFailed, Tell
from .metering import metrics_of

if TYPE_CHECKING:
    from ..storage.objects import Storage

log = logging.getLogger(__name__)
T = TypeVar("T")

FATAL = (EngineBroken, EngineClosed, torch.AcceleratorError)  # no later request would fare better
PASSING = (StorageUnavailable, StoreUnavailable, OutOfMemory)
CPU_MEMORY = "can't allocate memory"  # torch has no class for it on a CPU
ASK_AGAIN_S = (0.1, 5.0)  # the first pause while the store is away, and the longest
MOST_TEXT = 300  # characters of a foreign error's message


class Endings:
    """Writes ends; `retry_s` is the pause before a second attempt, `price_per_hour_usd` what the device costs.

    `doomed` is told of what no later request survives. Nothing is asked of the store again once `giving_up` is set.
    """

    def __init__(
        self,
        store: Store,
        storage: Storage,
        *,
        retry_s: float,
        price_per_hour_usd: float,
        tell: Tell,
        doomed: Callable[[BaseException], None],
        giving_up: threading.Event,
    ) -> None:
        self._store, self._storage, self._tell = store, storage, tell
        self._retry_s, self._price, self._doomed, self._giving_up = retry_s, price_per_hour_usd, doomed, giving_up

    def complete(self, attempt: Attempt) -> None:
        """running -> succeeded."""
        attempt.begin_ending()
        attempt.check()
        metrics = metrics_of(attempt, self._price)
        try:
            self._persist(lambda: self._store.complete(attempt.lease, attempt.outputs, metrics, time.time()))
        except LeaseLost:
            if not self._is_completed(attempt):
                raise
        self._note(attempt, "succeeded")

    def fail(self, attempt: Attempt, error: BaseException) -> None:
        """However it ends that something was raised."""
        why = attempt.begin_ending()
        try:
            if why in (Stop.HANDED_BACK, Stop.ABANDONED):
                self._note(attempt, why)
            elif isinstance(error, FATAL):
                self._note(attempt, Stop.ABANDONED, error)
                self._doomed(error)
            elif why == Stop.LOST or isinstance(error, LeaseLost):
                self._lose(attempt)
            elif why == Stop.CANCELLED:
                self._confirm_cancelled(attempt)
            else:
                self._fail(attempt, error)
        except LeaseLost:
            self._lose(attempt)
        except StoreUnavailable as away:
            log.warning("%s: its end was not written, the lease returns it: %s", attempt.job.id, away)
            self._note(attempt, Stop.LOST, away)

    def _confirm_cancelled(self, attempt: Attempt) -> None:
        metrics = metrics_of(attempt, self._price)
        self._persist(lambda: self._store.confirm_cancelled(attempt.lease, metrics, time.time()))
        self._remove_outputs(attempt)
        self._note(attempt, Stop.CANCELLED)

    def _fail(self, attempt: Attempt, error: BaseException) -> None:
        metrics, said, retry_at = metrics_of(attempt, self._price), describe(error), self._retry_at(attempt, error)
        if said["code"] == InvariantBroken.code:
            log.error("%s failed", attempt.job.id, exc_info=error)
        job = self._persist(lambda: self._store.fail(attempt.lease, said, metrics, time.time(), retry_at))
        self._remove_outputs(attempt)
        self._note(attempt, "failed" if job.state == JobState.FAILED else "retried", error)

    def _retry_at(self, attempt: Attempt, error: BaseException) -> float | None:
        if not is_passing(error):
            return None
        return time.time() + pause_s(attempt.job.attempt, self._retry_s, random.random())

    def _lose(self, attempt: Attempt) -> None:
        """Another claim followed: nothing of this one stays."""
        self._remove_outputs(attempt)
        self._tell(LeaseWasLost(attempt.job.id))
        self._note(attempt, Stop.LOST)

    def _remove_outputs(self, attempt: Attempt) -> None:
        with contextlib.suppress(StorageUnavailable):  # they lie under this claim's own keys, which nobody reads
            if attempt.keys:
                self._storage.delete(attempt.keys)

    def _is_completed(self, attempt: Attempt) -> bool:
        """Whether it was this claim that completed it: the answer to an earlier asking may have been lost."""
        job = self._persist(lambda: self._store.get(attempt.job.id))
        return job is not None and job.state == JobState.SUCCEEDED and job.fence == attempt.job.fence

    def _persist(self, write: Callable[[], T]) -> T:
        """Ask until the store answers, or the worker gives up."""
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
        code = describe(error)["code"] if error is not None else None
        metrics = metrics_of(attempt, self._price)
        step, _ = attempt.progress
        ids = (job.id, job.model, job.attempt, job.request_id)
        self._tell(AttemptEnded(*ids, str(status), seconds, step, code, metrics, job.traceparent))


def is_out_of_memory(error: BaseException) -> bool:
    """Of the device or the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and CPU_MEMORY in str(error)


def is_passing(error: BaseException) -> bool:
    """Whether it may go better another time."""
    return isinstance(error, PASSING) or is_out_of_memory(error)


def describe(error: BaseException) -> Mapping[str, Any]:
    """An error as its job keeps it; what is not ours is told by its kind and first line, never by its trace."""
    if isinstance(error, DarkroomError):
        return {"code": error.code, "message": error.message, "field": error.field}
    if is_out_of_memory(error):
        return describe(OutOfMemory(OutOfMemory.__doc__ or ""))
    lines = str(error).strip().splitlines() or [""]
    text = f"the pipeline failed: {type(error).__name__}: {lines[0][:MOST_TEXT]}"
    return {"code": InvariantBroken.code, "message": text, "field": None}

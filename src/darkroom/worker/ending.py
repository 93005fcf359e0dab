"""How a worker's attempt ends, as the store hears of it: completed, failed or tried again, cancelled; or nothing.

    nothing raised                      complete
    JobCancelled, a client wants it     confirm_cancelled
    storage away, out of memory         fail with retry_at: another attempt after a pause
    anything else                       fail
    handed back, lease lost             nothing: whoever took it away has written
    the engine or its device is broken  nothing: the worker dies, and its death is charged as any other

What both kinds of attempts share is in writing.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..errors import (
    DarkroomError,
    EngineBroken,
    EngineClosed,
    InvariantBroken,
    OutOfMemory,
    PipelineFailed,
    StorageUnavailable,
    StoreUnavailable,
)
from ..jobs.store import Store
from ..models.request import ImageRequest, PlainRequest
from .attempt import Attempt, Stop
from .events import Tell
from .metering import metrics_of
from .tapes import end_taping
from .writing import Writing

if TYPE_CHECKING:
    from ..storage.objects import Storage

FATAL = (EngineBroken, EngineClosed, torch.AcceleratorError)  # no later request would fare better
PASSING = (StorageUnavailable, StoreUnavailable, OutOfMemory)
CPU_MEMORY = "can't allocate memory"  # torch has no class for it on a CPU
MOST_TEXT = 300  # characters of a foreign error's message


class Endings(Writing[Attempt]):
    """Writes ends; `price_per_hour_usd` is what the device costs; `doomed` hears of what no later request survives."""

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
        super().__init__(store, storage, retry_s=retry_s, tell=tell, giving_up=giving_up)
        self._price, self._doomed = price_per_hour_usd, doomed

    def metrics(self, attempt: Attempt) -> Mapping[str, float]:
        """See `Writing`."""
        return metrics_of(attempt, self._price)

    def said(self, attempt: Attempt, error: BaseException) -> Mapping[str, Any]:
        """See `Writing`."""
        return describe(error)

    def step(self, attempt: Attempt) -> int:
        """See `Writing`."""
        return attempt.progress[0]

    def kept(self, attempt: Attempt) -> Sequence[str]:
        """See `Writing`."""
        return end_taping(attempt)

    def may_pass(self, attempt: Attempt, error: BaseException) -> bool:
        """See `Writing`."""
        return is_passing(error)

    def is_fault(self, error: BaseException) -> bool:
        """See `Writing`."""
        return describe(error)["code"] in (InvariantBroken.code, PipelineFailed.code)

    def fail(self, attempt: Attempt, error: BaseException) -> None:
        """However it ends that something was raised."""
        is_taken = attempt.begin_ending() in (Stop.HANDED_BACK, Stop.ABANDONED)
        if isinstance(error, FATAL) and not is_taken:
            self._note(attempt, Stop.ABANDONED, error)
            self._doomed(error)
        else:
            super().fail(attempt, error)


def raised_by(shot: ImageRequest, error: BaseException) -> BaseException:
    """What a request ended by: of a plain pipeline, what its function raised is its own fault."""
    is_named = isinstance(error, DarkroomError | torch.AcceleratorError) or is_out_of_memory(error)
    if not isinstance(shot, PlainRequest) or is_named or not isinstance(error, Exception):
        return error
    place, lines = getattr(error, "__notes__", [""])[-1], str(error).strip().splitlines() or [""]
    told = PipelineFailed(f"{place}: {type(error).__name__}: {lines[0][:MOST_TEXT]}")
    told.__cause__ = error
    return told


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

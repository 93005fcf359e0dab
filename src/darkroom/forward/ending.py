"""How an attempt ends, as our store hears of it; what a worker's has in common with it is in worker/writing.py.

nothing raised                          complete
JobCancelled, a client wants it         confirm_cancelled
storage away, the job is lost there     fail with retry_at: another attempt after a pause
what the other Darkroom or we refuse    fail, with the code and the words of whoever refused
handed back, lease lost                 nothing: whoever took it away has written
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..core import Job, JobState
from ..errors import DarkroomError, InvariantBroken, LeaseLost, Unavailable
from ..jobs.store import Store
from ..storage.objects import Storage, prefix_for_outputs
from ..worker.attempt import Stop
from ..worker.events import Tell
from ..worker.writing import Writing
from .attempt import Attempt

PASSING = (Unavailable, InvariantBroken)  # a fault over there is no fault of the job's
HOUR_S = 3600.0


class Endings(Writing[Attempt]):
    """Writes ends; `price_per_hour_usd` is what a device second costs here, whatever the other Darkroom says."""

    def __init__(
        self,
        store: Store,
        storage: Storage,
        *,
        retry_s: float,
        price_per_hour_usd: float,
        tell: Tell,
        giving_up: threading.Event,
    ) -> None:
        super().__init__(store, storage, retry_s=retry_s, tell=tell, giving_up=giving_up)
        self._price = price_per_hour_usd

    def metrics(self, attempt: Attempt) -> Mapping[str, float]:
        """See `Writing`."""
        return metrics_of(attempt, self._price)

    def said(self, attempt: Attempt, error: BaseException) -> Mapping[str, Any]:
        """See `Writing`."""
        return told(error, attempt)

    def step(self, attempt: Attempt) -> int:
        """See `Writing`."""
        return attempt.step

    def may_pass(self, attempt: Attempt, error: BaseException) -> bool:
        """See `Writing`; what failed over there was tried there as often as it may be."""
        has_failed = attempt.ended is not None and attempt.ended.state != JobState.SUCCEEDED
        return isinstance(error, PASSING) and not has_failed

    def is_fault(self, error: BaseException) -> bool:
        """See `Writing`."""
        return not isinstance(error, DarkroomError)

    def kept(self, attempt: Attempt) -> Sequence[str]:
        """See `Writing`."""
        return [key_for_wish(attempt.job)]

    def is_last(self, attempt: Attempt, error: BaseException) -> bool:
        """Whether the job ends here with this attempt, so that nobody will ask for it over there again.

        From here on nobody stops the attempt.
        """
        why = attempt.begin_ending()
        if why is not None or isinstance(error, LeaseLost):
            return why == Stop.CANCELLED
        return not self.may_pass(attempt, error) or attempt.job.attempt >= attempt.job.max_attempts


def key_for_wish(job: Job) -> str:
    """Where what was asked over there is kept: among the job's outputs, and so removed with them."""
    return f"{prefix_for_outputs(job.id)}/forwarded.json"


def told(error: BaseException, attempt: Attempt) -> Mapping[str, Any]:
    """An error as its job keeps it: in the words of whoever refused, without the address of the service behind us."""
    if isinstance(error, DarkroomError):
        return {"code": error.code, "message": attempt.backend.masked(error.message), "field": error.field}
    text = f"it could not be forwarded: {type(error).__name__}"
    return {"code": InvariantBroken.code, "message": text, "field": None}


def metrics_of(attempt: Attempt, price_per_hour_usd: float) -> Mapping[str, float]:
    """What it took over there at our price, beyond what was told before, and the ways there and back; nothing where it
    is not known to have ended there."""
    ended = attempt.ended
    if ended is None:
        return {}
    there = {name: value for name, value in ended.metrics.items() if isinstance(value, int | float)}
    times = attempt.job.times
    waited_s = max(0.0, times.get("started", 0.0) - times.get("queued", times.get("started", 0.0)))
    # An earlier attempt may have told of the same job over there, and the store adds up what attempts took.
    device_s = max(0.0, there.get("device_s", 0.0) - attempt.job.metrics.get("device_s", 0.0))
    return {
        **there,
        "device_s": device_s,
        "queued_s": waited_s + there.get("queued_s", 0.0),
        "upload_s": attempt.fetch_s + there.get("upload_s", 0.0),
        "cost_usd": device_s * price_per_hour_usd / HOUR_S,
    }

"""One try at forwarding a job: what it has gathered on its way, and who wants it stopped."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from ..client.nouns import Job as RemoteJob
from ..core import Artifact, Job, Lease
from ..errors import DeadlineExceeded, JobCancelled
from ..worker.attempt import Stop
from .backend import Backend


@dataclass(eq=False)
class Attempt:
    """A record that the chain's stages fill in; `stopped` is set as soon as somebody wants it to end, or its deadline
    has passed.

    `claimed_at` and `started_at` (over there) are on time.monotonic's clock. `wish` is what is asked over there, where
    the job then has the id `remote_id`, and `ended` once it has.
    """

    job: Job
    backend: Backend
    claimed_at: float = field(default_factory=time.monotonic)
    stopped: threading.Event = field(default_factory=threading.Event)
    why: Stop | None = None
    wish: dict[str, Any] = field(default_factory=dict)
    remote_id: str | None = None
    started_at: float | None = None
    step: int = 0
    ended: RemoteJob | None = None
    keys: list[str] = field(default_factory=list)  # of what lies in the storage by now
    outputs: list[Artifact] = field(default_factory=list)
    fetch_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_ending: bool = False

    @property
    def lease(self) -> Lease:
        """What its verbs show the store."""
        return Lease(self.job.id, self.job.fence)

    def stop(self, why: Stop) -> bool:
        """Have it end as soon as it looks; False where it writes its end already, or is stopping."""
        with self._lock:
            if self._is_ending or self.why is not None:
                return False
            self.why = why
        self.stopped.set()
        return True

    def check(self) -> None:
        """Raise `JobCancelled` where somebody wants it stopped."""
        if self.why is not None:
            raise JobCancelled("the job was cancelled")

    @property
    def is_late(self) -> bool:
        """Whether its deadline has passed."""
        return self.job.deadline_at is not None and time.time() >= self.job.deadline_at

    def check_deadline(self) -> None:
        """Raise `DeadlineExceeded` where it has passed."""
        if self.is_late:
            raise DeadlineExceeded("its deadline passed before it finished")

    def wake_if_late(self) -> bool:
        """End its pauses where its deadline has passed; True the first time, unless it is stopping already."""
        with self._lock:
            if not self.is_late or self._is_ending or self.stopped.is_set():
                return False
            self.stopped.set()
            return True

    def begin_ending(self) -> Stop | None:
        """From here on nobody stops it; returns why somebody has before."""
        with self._lock:
            self._is_ending = True
            return self.why


class InFlight:
    """The attempts of a forwarder by job."""

    def __init__(self) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._changed = threading.Condition()

    def add(self, attempt: Attempt) -> None:
        """A claim has brought it."""
        with self._changed:
            self._attempts[attempt.job.id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """It has ended; a later attempt at the same job stays."""
        with self._changed:
            if self._attempts.get(attempt.job.id) is attempt:
                del self._attempts[attempt.job.id]
            self._changed.notify_all()

    def find(self, job_id: str) -> Attempt | None:
        """The attempt at that job."""
        return self._attempts.get(job_id)

    def all(self) -> list[Attempt]:
        """Every attempt, the oldest first."""
        with self._changed:
            return list(self._attempts.values())

    def wait_until_empty(self, seconds: float) -> None:
        """At most so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._attempts, seconds)

    def __len__(self) -> int:
        return len(self._attempts)

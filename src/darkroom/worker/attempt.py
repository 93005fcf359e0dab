"""One try at a job: what it has gathered on its way, and who wants it stopped."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..core import FINAL_EVENTS, Artifact, Event, Job, Lease
from ..errors import JobCancelled
from ..models.request import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

    from ..engine.handle import Handle
    from ..models.residency import Resident


class Stop(StrEnum):
    """Why an attempt ends before its time; only for a cancelled one does it write something itself."""

    CANCELLED = "cancelled"
    LOST = "lost"
    HANDED_BACK = "released"
    ABANDONED = "abandoned"  # the worker is dying and says so for all of its jobs at once


@dataclass(frozen=True)
class File:
    """A picture or a video as it will be stored; `shape` is what its artifact says of it: pixels, frames."""

    data: bytes
    content_type: str
    suffix: str
    shape: Mapping[str, Any]


@dataclass(eq=False)
class Attempt:
    """A record that the chain's steps fill in; `stopped` is done as soon as somebody wants it to end.

    `claimed_at` is on time.monotonic's clock. `shots` are the requests of its images, each made by one of `handles`.
    """

    job: Job
    claimed_at: float = field(default_factory=time.monotonic)
    stopped: Future[None] = field(default_factory=Future)
    why: Stop | None = None
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    taken: Future[Resident] | None = None
    load_s: float = 0.0
    shots: tuple[ImageRequest, ...] = ()
    pipe: Any = None
    adapters: dict[str, float] | None = None  # weights by their names in the engine
    served_as: str | None = None  # its pipeline's name in the engine
    is_checked: bool = False  # a safety checker looks at its pictures
    handles: list[Handle] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # of what lies in the storage by now
    outputs: list[Artifact] = field(default_factory=list)
    upload_s: float = 0.0
    resumed_from_step: int | None = None
    tapes: set[str] = field(default_factory=set)  # keys of those that are stored
    is_taped: bool = True  # until it ends; changes under `taping`
    taping: threading.Lock = field(default_factory=threading.Lock)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _steps: dict[int, tuple[int, int]] = field(default_factory=dict)
    _running: int = 0
    _is_ending: bool = False
    _settled: threading.Event = field(default_factory=threading.Event)

    @property
    def lease(self) -> Lease:
        """What its verbs show the store."""
        return Lease(self.job.id, self.job.fence)

    @property
    def is_submitted(self) -> bool:
        """Whether the engine has all of it."""
        return bool(self.handles) and len(self.handles) == len(self.shots)

    @property
    def is_running(self) -> bool:
        """Whether the engine has yet to end some of it."""
        return self._running > 0

    @property
    def progress(self) -> tuple[int, int]:
        """Denoising steps done and steps in all, as of one image: its images run side by side, so their mean."""
        known = self._steps.copy()
        totals = [known[k][1] if k in known else shot.steps_to_run for k, shot in enumerate(self.shots)]
        return sum(step for step, _ in known.values()) // max(1, len(totals)), max(totals, default=0)

    def stop(self, why: Stop) -> bool:
        """Have it end at its next call; False where it writes its end already, or is stopping."""
        with self._lock:
            if self._is_ending or self.why is not None:
                return False
            self.why = why
            handles = list(self.handles)
        self.stopped.set_result(None)
        for handle in handles:
            handle.cancel()
        return True

    def check(self) -> None:
        """Raise `JobCancelled` where somebody wants it stopped."""
        if self.why is not None:
            raise JobCancelled("the job was cancelled")

    def begin_ending(self) -> Stop | None:
        """From here on nobody stops it; returns why somebody has before."""
        with self._lock:
            self._is_ending = True
            return self.why

    def begin_at(self, number: int, step: int, steps: int) -> None:
        """One of its images goes on from a tape."""
        self._steps[number] = (step, steps)

    def begin_again(self) -> None:
        """What the engine has ended was in vain."""
        with self._lock:
            self.handles.clear()
            self._steps.clear()
        self.resumed_from_step = None

    def join(self, handle: Handle, heard: Callable[[int, Event], None]) -> None:
        """One of its images is in the engine; `heard` is told its number and what happens to it.

        Of several the tapes are kept: those that are done are not made again where the job is handed back.
        """
        if len(self.shots) > 1:
            handle.keep_tape()
        with self._lock:
            number = len(self.handles)
            self.handles.append(handle)
            self._running += 1
            is_stopped = self.why is not None

        def listen(event: Event) -> None:
            self._note(number, event)
            heard(number, event)

        handle.listen(listen)
        if is_stopped:
            handle.cancel()

    def wait(self) -> None:
        """Until the engine is through with all of it, however that ended."""
        while self._running:
            self._settled.wait()
            self._settled.clear()

    def cancel_rest(self) -> None:
        """One image has failed: the others are not needed."""
        for handle in list(self.handles):
            handle.cancel()

    def _note(self, number: int, event: Event) -> None:
        if event.type == "progress":
            self._steps[number] = (event.data["step"], event.data["steps"])
        if event.type == "failed":
            self.cancel_rest()
        if event.type in FINAL_EVENTS:
            with self._lock:
                self._running -= 1
            self._settled.set()


class InFlight:
    """The attempts of a worker by job; `emptied` is called when the last one has gone."""

    def __init__(self, emptied: Callable[[], None]) -> None:
        self._attempts: dict[str, Attempt] = {}
        self._lock = threading.Lock()
        self._emptied = emptied

    def add(self, attempt: Attempt) -> None:
        """A claim has brought it."""
        with self._lock:
            self._attempts[attempt.job.id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """It has ended; a later attempt at the same job stays."""
        with self._lock:
            if self._attempts.get(attempt.job.id) is attempt:
                del self._attempts[attempt.job.id]
            is_empty = not self._attempts
        if is_empty:
            self._emptied()

    def find(self, job_id: str) -> Attempt | None:
        """The attempt at that job."""
        return self._attempts.get(job_id)

    def all(self) -> list[Attempt]:
        """Every attempt, the oldest first."""
        with self._lock:
            return list(self._attempts.values())

    def __len__(self) -> int:
        return len(self._attempts)

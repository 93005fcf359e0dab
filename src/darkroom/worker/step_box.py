"""What attempts report on their way: only the latest of each is kept, so a slow store never slows the engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core import Lease
from ..errors import DarkroomError
from ..jobs.store import StepDone, Store
from .events import StoreFailed, Tell

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

ROUND_S = 0.02  # at the most one report a job in so many seconds
PAUSE_S = 1.0  # while the store is away
MOST = 1024  # jobs with something to report; more than can be in flight


@dataclass(frozen=True)
class Note:
    """How far a job was at `at`, and the latest picture of it that nobody has seen."""

    at: float
    step: int
    steps: int
    preview: Image.Image | None = None


class StepBox:
    """A bounded, lossy box that is emptied into the store; `to_url` makes a data URL of a preview."""

    def __init__(self, store: Store, to_url: Callable[[Image.Image], str], tell: Tell) -> None:
        self._store, self._to_url, self._tell = store, to_url, tell
        self._notes: dict[Lease, Note] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def run(self) -> None:
        """Report until closed."""
        while notes := self._collect():
            pause_s = ROUND_S if self._report(notes) else PAUSE_S
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, pause_s)

    def put(self, lease: Lease, step: int, steps: int, preview: Image.Image | None = None) -> None:
        """Leave a report of what has just happened, in place of the one before; never waits."""
        with self._changed:
            before = self._notes.get(lease)
            if before is None and len(self._notes) >= MOST:
                return
            unseen = before.preview if before else None
            self._notes[lease] = Note(time.time(), step, steps, preview or unseen)
            self._changed.notify()

    def forget(self, lease: Lease) -> None:
        """The job has ended: what was left unsaid is no longer of interest."""
        with self._changed:
            self._notes.pop(lease, None)

    def close(self) -> None:
        """Report nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _collect(self) -> dict[Lease, Note]:
        with self._changed:
            self._changed.wait_for(lambda: self._notes or self._is_closed)
            notes, self._notes = self._notes, {}
            return {} if self._is_closed else notes

    def _report(self, notes: dict[Lease, Note]) -> bool:
        """False where the store is away or refuses: what was to be said then is lost, the next step says more."""
        done = [self._told(lease, note) for lease, note in notes.items()]
        try:
            self._store.report_steps(done)  # of lost leases the heartbeat tells the attempts
        except DarkroomError as error:
            log.debug("no step is reported: %s", error)
            self._tell(StoreFailed("reporting a step"))
            return False
        return True

    def _told(self, lease: Lease, note: Note) -> StepDone:
        preview = self._to_url(note.preview) if note.preview is not None else None
        return StepDone(lease, note.step, note.steps, note.at, preview)

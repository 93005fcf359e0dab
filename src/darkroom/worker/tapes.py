"""Tapes of attempts in the storage: from them the job's next attempt goes on, here or on another worker.

They lie among the job's outputs, one for each of its images and claims, and go when the job ends. Whatever goes wrong
with a tape is told in the log and costs steps, never the job.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, wait

from ..errors import Conflict
from ..storage.objects import Storage
from ..storage.tapes import key_for_tape, tapes_of
from .attempt import Attempt

log = logging.getLogger(__name__)

WAIT_S = 10.0  # at the most, for the tapes of all that is handed back
CONTENT_TYPE = "application/octet-stream"


class Tapes:
    """Stores a tape each `every` steps (0: never by itself) in its own thread, the latest where several are due."""

    def __init__(self, storage: Storage, pool: Executor, every: int) -> None:
        self._storage, self._pool, self._every = storage, pool, every
        self._due: dict[tuple[Attempt, int], None] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def stepped(self, attempt: Attempt, number: int, step: int, steps: int) -> None:
        """An image has taken a step; never waits."""
        if self._every and step % self._every == 0 and step < steps:
            with self._changed:
                self._due[attempt, number] = None
                self._changed.notify()

    def run(self) -> None:
        """Store until closed."""
        while (due := self._next()) is not None:
            self.store(*due)

    def close(self) -> None:
        """Store nothing more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _next(self) -> tuple[Attempt, int] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._due or self._is_closed)
            if self._is_closed:
                return None
            due = next(iter(self._due))
            del self._due[due]
            return due

    def store_all(self, attempts: Iterable[Attempt]) -> None:
        """Those of attempts that are about to be handed back, while they go on."""
        shots = [(attempt, number) for attempt in attempts for number in range(len(attempt.handles))]
        wait([self._pool.submit(self.store, *shot) for shot in shots], WAIT_S)

    def store(self, attempt: Attempt, number: int) -> None:
        """One, as far as it has come; not once its attempt ends."""
        try:
            with attempt.taping:
                if attempt.is_taped:
                    self._put(attempt, number)
        except Conflict:
            pass  # the image is done, or its engine records none
        except Exception as error:  # budget: whatever a storage or a pipeline does, the job goes on without a tape
            log.warning("%s: no tape of image %d was stored: %s", attempt.job.id, number, error)

    def _put(self, attempt: Attempt, number: int) -> None:
        tape = attempt.handles[number].checkpoint()
        if tape.entries:
            key = key_for_tape(attempt.job.id, attempt.job.fence, number)
            self._storage.put(key, tape.to_bytes(with_arguments=False), CONTENT_TYPE)
            attempt.tapes.add(key)

    def fetch(self, attempt: Attempt) -> Mapping[int, bytes]:
        """What earlier claims of its job have left, by the image's number: the latest of each."""
        if attempt.job.fence <= 1:  # there was none
            return {}
        found: dict[int, bytes] = {}
        try:
            stored = tapes_of(self._storage, attempt.job.id)
            attempt.tapes |= stored.keys()
            latest: dict[int, int] = {}
            for fence, number in stored.values():
                if fence < attempt.job.fence and number < len(attempt.shots):
                    latest[number] = max(fence, latest.get(number, 0))
            for number, fence in latest.items():
                found[number] = self._storage.get(key_for_tape(attempt.job.id, fence, number))
        except Exception as error:  # budget: without its tape a job starts over
            log.warning("%s starts over, its tape cannot be fetched: %s", attempt.job.id, error)
        return found


def end_taping(attempt: Attempt) -> Sequence[str]:
    """No tape is stored of it from here on; the keys of those that were."""
    with attempt.taping:
        attempt.is_taped = False
        return sorted(attempt.tapes)

"""The worker's sign of life: it extends the leases, says what the worker is, and hears what the store asks of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from ..core import Lease, WorkerReport
from ..errors import StoreUnavailable
from ..jobs.store import Store
from .events import ClockRead, StoreFailed, Tell, WatchRead

log = logging.getLogger(__name__)

RETRY_S = 1.0  # while the store is away: the leases run
REFRESH_S = 1.0  # between two beats where what is said changes: a beat is a commit, and the gateway looks each second
CLOCK_SHARE = 1 / 3  # of a lease: how far the clock may be off the store's


class Skew:
    """Whether this machine's clock differs too much from the store's: then leases would end too soon, or late."""

    def __init__(self) -> None:
        self.is_too_much = False

    def heed(self, ahead_s: float, most_s: float) -> None:
        """The clock was read, and may be `most_s` off."""
        is_off = abs(ahead_s) > most_s
        if is_off and not self.is_too_much:
            log.error("this machine's clock is %+.0f s off the store's: nothing is claimed until it is set", ahead_s)
        self.is_too_much = is_off


class Heartbeat:
    """Beats every `every_s` seconds, within `REFRESH_S` after a `hint`, and at once when `nudge`d.

    `describe` makes the report, `leases` says what is held; `lost` is told which leases are held no longer, and
    `asked_to_drain` that an operator wants it.
    """

    def __init__(
        self,
        store: Store,
        describe: Callable[[], WorkerReport],
        leases: Callable[[], Sequence[Lease]],
        *,
        lost: Callable[[Sequence[Lease]], None],
        asked_to_drain: Callable[[], None],
        tell: Tell,
        every_s: float,
    ) -> None:
        self._store, self._describe, self._leases = store, describe, leases
        self._lost, self._asked_to_drain, self._tell = lost, asked_to_drain, tell
        self._every_s = every_s
        self._nudged = threading.Event()
        self._is_closed = self._was_asked = self._is_outdated = False

    def run(self) -> None:
        """Beat until closed, the first time at once."""
        while not self._is_closed:
            self._nudged.clear()
            self._is_outdated = False
            self._pause(self._every_s if self.beat() else min(RETRY_S, self._every_s))

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            if self._nudged.wait(min(left_s, REFRESH_S)) or self._is_outdated:
                return

    def hint(self) -> None:
        """Beat soon: how busy it is has changed, and with it what a step takes, which promises are made from."""
        self._is_outdated = True

    def nudge(self) -> None:
        """Beat now: something that others want to know has changed."""
        self._nudged.set()

    def close(self) -> None:
        """Beat no more."""
        self._is_closed = True
        self._nudged.set()

    def _ahead_s(self) -> float:
        asked_at = time.time()
        theirs = self._store.clock()
        return (asked_at + time.time()) / 2 - theirs

    def beat(self) -> bool:
        """Report once; False where the store is away."""
        report = self._describe()
        try:
            lost = self._store.heartbeat(report, self._leases(), time.time())
            is_asked = self._store.is_asked_to_drain(report.id)
            self._tell(ClockRead(self._ahead_s()))
            self._tell(WatchRead(self._store.is_watched(time.time())))
        except StoreUnavailable as error:
            log.warning("no heartbeat: %s", error)
            self._tell(StoreFailed("a heartbeat"))
            return False
        if lost:
            self._lost(lost)
        if is_asked and not self._was_asked:  # asking twice means now
            self._was_asked = True
            self._asked_to_drain()
        return True

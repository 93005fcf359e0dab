"""When to ask again, after how long, and until when; it asks nothing itself.

What is asked again is safe to ask twice: a job is submitted under an idempotency key, and everything else leaves the
same state however often it is said. So a lost connection is a reason to ask again, and so is an answer of "not now".
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

# Too Many Requests and Service Unavailable are Darkroom's; Bad Gateway and Gateway Timeout a proxy's before it.
NOT_NOW = frozenset({429, 502, 503, 504})
FIRST_S = 0.25
LONGEST_S = 8.0
QUIET_S = 60.0  # the service breaks its silence more often than that
SHORTEST_S = 0.05
PATIENCE_S = 60.0  # who says "come back later than that" is taken at its word, and the caller is told


@dataclass(frozen=True)
class Retries:
    """At most `limit` further tries. `draw` gives numbers in [0, 1): clients that failed together come back apart."""

    limit: int
    draw: Callable[[], float] = random.random

    def wait_s(self, failures: int, retry_after_s: float | None) -> float | None:
        """Seconds before the next try after so many failures in a row; None: there is none.

        Doubles from `FIRST_S` to `LONGEST_S`, and half of it is drawn. Never less than the server's own Retry-After.
        """
        if failures > self.limit or (retry_after_s or 0.0) > PATIENCE_S:
            return None
        most_s = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
        return (retry_after_s or most_s / 2) + self.draw() * most_s / 2


@dataclass(frozen=True)
class Until:
    """A moment on the monotonic clock to be done by; None: whenever."""

    at: float | None

    @classmethod
    def after(cls, timeout_s: float | None) -> Until:
        """So many seconds from now."""
        return cls(None if timeout_s is None else time.monotonic() + timeout_s)

    def quiet_s(self) -> float:
        """How long to listen to silence before looking at the clock again. Half of what is left, so that events which
        come meanwhile do not move the end: whoever may not listen that long any more opens the stream anew."""
        if self.at is None:
            return QUIET_S
        return max(SHORTEST_S, min(QUIET_S, (self.at - time.monotonic()) / 2))

    def left_s(self) -> float | None:
        """Seconds until then; None: without end."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    def most_s(self, seconds: float) -> float:
        """So long, or as long as is left; always long enough to try."""
        return seconds if self.at is None else max(SHORTEST_S, min(seconds, self.at - time.monotonic()))

    def check(self, message: str) -> None:
        """Raise TimeoutError after it."""
        if self.has_passed():
            raise TimeoutError(message)

    def has_passed(self, in_s: float = 0.0) -> bool:
        """Whether it will have passed in so many seconds."""
        return self.at is not None and time.monotonic() + in_s >= self.at


NEVER = Until(None)

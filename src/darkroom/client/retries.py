"""When to ask again, and after how long; pure.

What is asked again is safe to ask twice: a job is submitted under an idempotency key, and everything else leaves the
same state however often it is said. So a lost connection is a reason to ask again, and so is an answer of "not now".
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Too Many Requests and Service Unavailable are Darkroom's; Bad Gateway and Gateway Timeout a proxy's before it.
NOT_NOW = frozenset({429, 502, 503, 504})
FIRST_S = 0.25
LONGEST_S = 8.0
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


def retry_after_s(said: str | None, now: float) -> float | None:
    """A Retry-After header in seconds (RFC 9110, section 10.2.3: seconds, or a date); None where it says neither."""
    if said is None:
        return None
    if said.isascii() and said.isdigit():
        return float(said[:12])
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.fromtimestamp(now, UTC)).total_seconds())

"""How often progress is told; it tells nothing itself."""

from __future__ import annotations

# Slack admits some 50 calls of chat.update a minute to an app in a workspace (tier 3 of
# https://docs.slack.dev/apis/web-api/rate-limits), and endings must fit in beside progress.
UPDATE_EVERY_S = 2.0
MESSAGE_EVERY_S = 3.0  # of one message: people do not read faster


class Pace:
    """A budget that all jobs share; `now` is on a monotonic clock, in seconds. What it refuses is left out, not put
    off: the next step says the same and more."""

    def __init__(self) -> None:
        self._next_at = float("-inf")

    def take(self, told_at: float, now: float) -> bool:
        """Whether a message last told at `told_at` may be told again now; that uses the budget."""
        if now < self._next_at or now - told_at < MESSAGE_EVERY_S:
            return False
        self._next_at = now + UPDATE_EVERY_S
        return True

    def hold(self, seconds: float, now: float) -> None:
        """Slack wants to hear nothing for so long."""
        self._next_at = max(self._next_at, now + seconds)

"""How much a worker takes on, what it can still finish, when it tries again: pure, no torch, no clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_AT_ONCE = 16  # a claim is one transaction; the next round knows better what these cost
MOST_IN_FLIGHT = 128  # each has a thread that sleeps while the engine works
LET_S = 0.004  # longer than a claim takes here
MOST_LET_S = 0.02  # shorter than a step of most models
LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True)
class Work:
    """What a worker has claimed and not ended.

    `ahead_s` are the predicted seconds until its device is through with it. `fits`: how many more predicted bytes
    allow. `joining`: how many more would find free rows in forwards that run anyway. `has_suspect`: one of them is
    retried apart.
    """

    in_flight: int
    ahead_s: float
    fits: int = MOST_IN_FLIGHT
    joining: int = 0
    has_suspect: bool = False


@dataclass(frozen=True)
class Wanted:
    """How many jobs to ask for; `must_join`: only those of models whose forwards have free rows."""

    jobs: int = 0
    must_join: bool = False


def how_many(work: Work, claim_ahead_s: float, typical_s: float) -> Wanted:
    """How many jobs to ask for, where one typically takes `typical_s` of the device.

    What could not soon start stays in the queue, for a worker that is free sooner; what finds free rows in forwards
    that run anyway starts at the next step, however long those go on. Never more at once than it has: of a few that
    come together each worker gets some.
    """
    most = min(MOST_AT_ONCE, MOST_IN_FLIGHT - work.in_flight, work.fits, max(1, work.in_flight))
    if work.has_suspect or most <= 0:
        return Wanted()
    by_seconds = _by_seconds(work, claim_ahead_s, typical_s)
    if by_seconds:
        return Wanted(min(by_seconds, most))
    return Wanted(min(work.joining, most), must_join=True)


def _by_seconds(work: Work, claim_ahead_s: float, typical_s: float) -> int:
    """At least one while there is less to do than `claim_ahead_s`; who has nothing takes one, however long."""
    if work.in_flight and work.ahead_s >= claim_ahead_s:
        return 0
    room_s = claim_ahead_s - (work.ahead_s if work.in_flight else 0.0)
    return max(1, MOST_AT_ONCE if typical_s * MOST_AT_ONCE <= room_s else int(room_s / typical_s))


def ahead_s(predicted_s: float, submitted: float, unsubmitted: float) -> float:
    """Seconds of work at hand: what the engine predicts, and what it has not been handed yet as the door judged it.

    An engine that has seen nothing like it predicts nothing; then the door's judgement stands for that too.
    """
    return (predicted_s or submitted) + unsubmitted


def let_s(in_flight: int) -> float:
    """How long a worker lets others go first where there is new work, or more: who has least is to win.

    The more it has at hand the longer, up to five jobs; none at all where it has nothing.
    """
    return min(LET_S * in_flight, MOST_LET_S)


def unfinishable(left_s: Mapping[str, float], drain_s: float) -> list[str]:
    """Which attempts will not be done in time, by the seconds each has left; they go back before the drain begins."""
    return [name for name, seconds in left_s.items() if seconds > drain_s]


def pause_s(attempt: int, first_s: float, chance: float) -> float:
    """Seconds before the next attempt: doubling, and spread by `chance` (0..1), or a crowd would return at once."""
    longest = min(first_s * 2.0 ** min(attempt - 1, 30), LONGEST_PAUSE_S)
    return longest * (0.5 + 0.5 * chance)

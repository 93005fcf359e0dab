"""Who stays in a pool, and who leaves it first."""

from __future__ import annotations

from collections.abc import Sequence

from .nouns import Observation, Phase, Pool, Seen


def staying_in(seen: Observation, pool: Pool) -> list[Seen]:
    """Its members that nobody has asked to leave."""
    return [w for w in seen.workers if w.member.pool == pool.name and w.member.phase is not Phase.LEAVING]


def leaving_of(there: Sequence[Seen], too_many: int) -> tuple[str, ...]:
    """The names of so many, first first: those not ready yet, the idle ones, then whoever has least to finish."""
    ranked = sorted(there, key=lambda w: (w.in_flight, w.ahead_s, w.member.phase is Phase.READY, -w.member.since))
    return tuple(worker.member.name for worker in ranked[: max(0, too_many)])

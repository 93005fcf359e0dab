"""What whoever scales the fleet tells others through the store: plans, workers by pool, and what was learned.

    Scaler --Store.note_fleet--> note --Store.fleet_note--> gateways: ETA, readiness, GET /v1/fleet, metrics
                                  '-----------------------> the next leader

The note is the only memory of a scaler: one that starts anew goes on from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .nouns import Member, Phase

FRESH_LOOKS, FRESH_S = 6, 30.0  # for so long a note counts after its time


@dataclass(frozen=True)
class Pace:
    """Of a model, as workers measured it last: seconds of a step and of the rest, and the rows that a step holds."""

    step_s: float
    rest_s: float = 0.0
    rows: float = 1.0


@dataclass(frozen=True)
class Learned:
    """What outlives workers and scalers.

    By pool, `ready_s` from asked for to ready, and `speeds`: predicted device seconds done in one. `paces` by model.
    `arrivals`: device seconds of jobs accepted up to `counted_until`, by start of hour.
    """

    ready_s: Mapping[str, float] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    paces: Mapping[str, Pace] = field(default_factory=dict)
    arrivals: Mapping[float, float] = field(default_factory=dict)
    counted_until: float = 0.0


@dataclass(frozen=True)
class PoolNote:
    """A pool as it is and is to be; `wanted` None until there is a plan, `decided_at` when that last changed."""

    name: str
    device: str = ""
    is_spot: bool = False
    price_per_hour_usd: float = 0.0
    models: tuple[str, ...] = ()
    min_workers: int = 0
    max_workers: int = 1
    ready_s: float = 20.0
    wanted: int | None = None
    reasons: tuple[str, ...] = ()
    decided_at: float | None = None
    members: tuple[Member, ...] = ()

    def count(self, phase: Phase) -> int:
        """Its workers in that phase."""
        return sum(member.phase is phase for member in self.members)

    def serves(self, model: str) -> bool:
        """Whether it may ever run that model's jobs."""
        return self.max_workers > 0 and (not self.models or model in self.models)

    def cold_s(self, now: float) -> float:
        """Seconds until it has one more worker ready; one that is overdue is expected as late again as it is."""
        starting = [member.since for member in self.members if member.phase is Phase.STARTING]
        is_short = (self.wanted or 0) > len(self.members) - self.count(Phase.LEAVING)
        if is_short and self.decided_at is not None and now - self.decided_at < self.ready_s:
            starting.append(self.decided_at)  # asked for, and not seen yet
        return min((abs(since + self.ready_s - now) for since in starting), default=self.ready_s)


@dataclass(frozen=True)
class FleetNote:
    """What was told at `at`; `fault` says what keeps the plan from being made or carried out ("": nothing).

    `remote`: models that another Darkroom runs, and no pool. `strays`: workers of pools that the settings do not name.
    """

    at: float
    driver: str
    policy: str
    look_s: float
    pools: tuple[PoolNote, ...] = ()
    fault: str = ""
    learned: Learned = field(default_factory=Learned)
    remote: tuple[str, ...] = ()
    strays: int = 0

    def is_fresh(self, now: float) -> bool:
        """Whether somebody still scales the fleet."""
        return abs(now - self.at) <= max(FRESH_S, FRESH_LOOKS * self.look_s)

    @property
    def can_start(self) -> bool:
        """Whether a job would find a worker: some pool may have one, and nothing keeps it from starting."""
        return not self.fault and any(pool.max_workers for pool in self.pools)

    def cold_s(self, model: str, now: float) -> float | None:
        """Seconds until a worker that is not ready yet could serve that model; None where no pool does."""
        return min((pool.cold_s(now) for pool in self.pools if self._may_run(pool, model)), default=None)

    def hands(self, model: str) -> int:
        """How many workers are wanted that serve it, one at the least."""
        return max(1, sum(pool.wanted or 0 for pool in self.pools if self._may_run(pool, model)))

    def _may_run(self, pool: PoolNote, model: str) -> bool:
        return model not in self.remote and pool.serves(model)


_NOTE = TypeAdapter(FleetNote)


def write_note(note: FleetNote) -> Mapping[str, Any]:
    """As JSON for `Store.note_fleet`."""
    said: Mapping[str, Any] = _NOTE.dump_python(note, mode="json")
    return said


def read_note(said: Mapping[str, Any]) -> FleetNote | None:
    """What `Store.fleet_note` gave; None where nobody scales the fleet, or another release that tells it otherwise."""
    try:
        return _NOTE.validate_python(dict(said)) if said else None
    except ValidationError:
        return None


def fresh_note(said: Mapping[str, Any], now: float) -> FleetNote | None:
    """The same while somebody scales the fleet."""
    note = read_note(said)
    return note if note is not None and note.is_fresh(now) else None

"""One benchmark from start to end: each kind of request alone, the capacity where it is asked for, then the loads."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from ..errors import BadInput
from ..traces import Request
from .dialects import Dialect
from .figures import FOR_P99
from .load import Load, Tell
from .occupancy import counts_of, watching
from .plan import Arrivals, Crowd, Mix, Wanted, one_of_each, plan_of, wanted_of
from .record import Report, Run, run_of
from .replay import Replay, replay_notes, replay_plan
from .solo import MEASURED_KINDS, Solo, kinds_in, measured, spread_over, to_warm, with_estimates

Note = Callable[[str], None]
Planned = tuple[float | None, Sequence[Wanted]]  # a rate, and what is sent at it


@dataclass(frozen=True)
class Asked:
    """What to measure: arrivals, a crowd, or the replay of a `trace`.

    Arrivals are sent once for each of `rates`, in requests a second, or for each of `loads`, which are shares of a
    capacity that is then measured.
    """

    how: Arrivals | Crowd | Replay
    mix: Mix
    seed: int = 0
    rates: tuple[float, ...] = ()
    loads: tuple[float, ...] = ()
    trace: Sequence[Request] = ()
    price_per_hour_usd: float | None = None

    @property
    def pattern(self) -> str:
        """In a word."""
        if isinstance(self.how, Arrivals):
            return self.how.pattern
        return "crowd" if isinstance(self.how, Crowd) else "replay"

    def as_json(self) -> dict[str, Any]:
        """Without the trace, whose requests are told with their outcomes."""
        mix, loads = asdict(self.mix), list(self.loads)
        return {**asdict(self.how), "pattern": self.pattern, "mix": mix, "loads": loads, "seed": self.seed}


@dataclass(frozen=True)
class Listening:
    """Who hears of it: `note` of each part, `tell` of a load as it goes on."""

    note: Note
    tell: Tell


async def measure(asked: Asked, dialect: Dialect, listening: Listening) -> Report:
    """Run it all. Raises what the service refuses while it is measured alone."""
    began_at = datetime.now(UTC).isoformat(timespec="seconds")
    load = Load(dialect)
    plan = replay_plan(asked.trace, asked.how, asked.mix, asked.seed) if isinstance(asked.how, Replay) else []
    kinds = kinds_in(plan) if plan else one_of_each(asked.mix)
    notes = await dialect.prepare(plan)
    if isinstance(asked.how, Replay):
        notes += replay_notes(asked.trace, asked.how, asked.mix)
    await counts_of(dialect.asking)  # from now on workers tell of their batches
    chosen = kinds[:MEASURED_KINDS] if plan else spread_over(kinds, MEASURED_KINDS)
    solo = await _alone(load, kinds, chosen, listening.note)
    estimates = sum(each.is_estimate for each in solo.values())
    if estimates:
        notes.append(
            f"{estimates} of {len(solo)} kinds were not measured alone (~): a line through the others stands in"
        )
    capacity = await load.capacity(asked.mix) if asked.loads else None
    if capacity is not None:
        listening.note(f"capacity: {capacity:.3f} requests a second")
    runs = [await _run(load, dialect, asked, each, solo, listening) for each in _planned_loads(asked, capacity, plan)]
    if not any(run.batches for run in runs):
        notes.append("how full batches were is not known: the service does not tell, or tells operators alone")
    if any(run.summary.latency_s.p99 is None for run in runs):
        notes.append(f"p99, and goodput at 99%, take {FOR_P99} requests: they are not said of fewer")
    for note in notes:
        listening.note(note)
    said = asked.as_json()
    return Report(
        dialect.url, dialect.name, began_at, said, capacity, solo, runs, asked.price_per_hour_usd, tuple(notes)
    )


async def _alone(load: Load, kinds: Sequence[Wanted], chosen: Sequence[Wanted], note: Note) -> Mapping[str, Solo]:
    await load.warm(to_warm(kinds, chosen))
    known = {}
    for wanted in chosen:
        known[wanted.kind] = measured(await load.solo_s(wanted))
        note(f"alone: {wanted.kind} take {known[wanted.kind].typical_s:.3f} s")
    return with_estimates(kinds, known)


def _planned_loads(asked: Asked, capacity: float | None, plan: Sequence[Wanted]) -> list[Planned]:
    if not isinstance(asked.how, Arrivals):
        rate = len(plan) / plan[-1].at_s if plan and plan[-1].at_s else None
        return [(rate, plan)]
    rates = asked.rates if capacity is None else [share * capacity for share in asked.loads]
    return [(rate, _planned(asked.how, rate, asked)) for rate in rates]


def _planned(arrivals: Arrivals, rate: float, asked: Asked) -> list[Wanted]:
    plan = plan_of(replace(arrivals, rate=rate), asked.mix, asked.seed)
    if not plan:
        raise BadInput("no request would arrive in that time: raise --duration or the rate", field="duration")
    return plan


async def _run(
    load: Load,
    dialect: Dialect,
    asked: Asked,
    planned: Planned,
    solo: Mapping[str, Solo],
    listening: Listening,
) -> Run:
    rate, plan = planned
    if rate is not None:
        listening.note(f"sending {len(plan)} requests, {rate:.3f} a second")
    async with watching(dialect.asking) as watch:
        if isinstance(asked.how, Crowd):
            outcomes = await load.play(asked.how, _endless(asked.mix, asked.seed), listening.tell)
        else:
            outcomes = await load.run(plan, listening.tell)
    return run_of(rate, outcomes, solo, asked.price_per_hour_usd, watch.batches)


def _endless(mix: Mix, seed: int) -> Iterator[Wanted]:
    rng = random.Random(seed)
    return (wanted_of(number, 0.0, mix, rng) for number in count())

"""One benchmark from start to end: each step count alone, the capacity where it is asked for, then the load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..client.asynchronous import AsyncClient
from ..errors import BadInput
from .figures import Outcome, Summary, as_json, summary_of
from .load import Load, Tell, typical
from .plan import Arrivals, Mix, plan_of

Note = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What to measure. `load` is the share of the measured capacity to send; then `arrivals.rate` is found from it."""

    arrivals: Arrivals
    mix: Mix
    load: float | None
    seed: int
    url: str | None = None


@dataclass(frozen=True)
class Report:
    """What came of it; `rate` is what was sent, `capacity` None where it was not measured."""

    url: str
    asked: Asked
    rate: float
    capacity: float | None
    solo_s: Mapping[int, Sequence[float]]
    summary: Summary
    outcomes: Sequence[Outcome]

    @property
    def solo(self) -> dict[int, float]:
        """Seconds that each step count takes alone."""
        return {steps: typical(found) for steps, found in self.solo_s.items()}

    def as_json(self) -> dict[str, Any]:
        """All of it, the outcomes too, from which everything else can be made again."""
        return {
            "url": self.url,
            "asked": asdict(self.asked),
            "rate_per_s": self.rate,
            "capacity_per_s": self.capacity,
            "solo_s": {str(n): {"median": typical(found), "each": list(found)} for n, found in self.solo_s.items()},
            "summary": as_json(self.summary),
            "outcomes": [asdict(outcome) for outcome in self.outcomes],
        }


async def measure(asked: Asked, note: Note, tell: Tell) -> Report:
    """Run it all; `note` hears of each part, `tell` of the load as it goes. Raises what the service refuses."""
    async with AsyncClient(asked.url, retries=0) as submitting, AsyncClient(asked.url) as following:
        load = Load(submitting, following, asked.mix)
        await load.warm()
        solo_s = {}
        for steps in sorted(set(asked.mix.steps)):
            solo_s[steps] = await load.solo_s(steps)
            note(f"alone: {steps} steps take {typical(solo_s[steps]):.3f} s")
        capacity = None
        arrivals = asked.arrivals
        if asked.load is not None:
            capacity = await load.capacity()
            arrivals = replace(arrivals, rate=asked.load * capacity)
            note(f"capacity: {capacity:.3f} requests a second; sending {arrivals.rate:.3f}")
        plan = plan_of(arrivals, asked.mix, asked.seed)
        if not plan:
            raise BadInput("no request would arrive in that time: raise --duration or the rate", field="duration")
        outcomes = await load.run(plan, tell)
    summary = summary_of(outcomes, {steps: typical(found) for steps, found in solo_s.items()})
    sent = replace(asked, arrivals=arrivals)
    return Report(submitting.url, sent, arrivals.rate, capacity, solo_s, summary, outcomes)

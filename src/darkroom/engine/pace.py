"""What runs of a model's requests are made of, as lately seen; no torch."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from statistics import median

LATELY = 16  # finished runs that count
LABELS = 64  # kinds of request (size, images, guidance) remembered of a model


@dataclass
class Seen:
    """The calls of one method and shape that a request has made; `seconds` is its share of their forwards."""

    kind: str
    shape_key: Hashable  # what tells its cost; equal for modules that are alike
    rows: int
    fixed_rows: int
    is_shared: bool  # others' calls may run in its forwards
    calls: int = 0
    seconds: float = 0.0


@dataclass
class Trip:
    """How far one run of a request has come, on time.monotonic's clock."""

    started_at: float
    seen: dict[Hashable, Seen] = field(default_factory=dict)
    step: int = 0
    steps: int | None = None  # not known before its loop begins
    first_step_at: float = 0.0
    last_step_at: float = 0.0

    def stepped(self, step: int, steps: int, now: float) -> None:
        """`step` denoising steps of `steps` are done."""
        self.first_step_at = self.first_step_at or now
        self.step, self.steps, self.last_step_at = step, steps, now

    def rest_s(self, now: float) -> float | None:
        """Of a run that ends now: seconds that were not steps; None where it took too few to tell."""
        if self.step < 2:
            return None
        step_s = (self.last_step_at - self.first_step_at) / (self.step - 1)
        return max(0.0, now - self.started_at - self.step * step_s)


class Pace:
    """Of one model; written by the engine's thread, read by any."""

    def __init__(self) -> None:
        self._rests_s: deque[float] = deque(maxlen=LATELY)
        self._trips: OrderedDict[Hashable, Trip] = OrderedDict()

    @property
    def rest_s(self) -> float:
        """Seconds that a request takes beside its steps; 0.0 where nothing is known."""
        rests_s = list(self._rests_s)
        return median(rests_s) if rests_s else 0.0

    @property
    def latest(self) -> Trip | None:
        """The run that finished last."""
        return next(reversed(self._trips.copy().values()), None)

    def finished(self, label: Hashable, trip: Trip, now: float) -> None:
        """Remember what a request of this label took."""
        rest_s = trip.rest_s(now)
        if rest_s is not None:
            self._rests_s.append(rest_s)
        self._trips[label] = trip
        self._trips.move_to_end(label)
        if len(self._trips) > LABELS:
            self._trips.popitem(last=False)

    def like(self, label: Hashable, own: Trip) -> Trip:
        """What tells most about a run: one of its label that finished, else its own steps, else any that finished."""
        return self._trips.get(label) or (own if own.step else self.latest or own)

"""What lies before an engine: the seconds its requests still take, and what more could start at once.

Any thread may ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import forecast
from .attempts import Attempts
from .memory import Budget
from .pace import Trip
from .profile import Profile
from .request import Request
from .served import Served


@dataclass(frozen=True)
class Room:
    """What an engine could take in and start at once.

    `fits`: requests that predicted bytes allow beside those submitted. `joining`: by model, how many more like one of
    those submitted would find free rows in forwards that run anyway.
    """

    fits: int
    joining: Mapping[str, int]


class Outlook:
    """Looks at the requests that are submitted and not finished, and at the latest run of each of the `models`."""

    def __init__(self, attempts: Attempts, models: Mapping[str, Served], budget: Budget, profile: Profile) -> None:
        self._attempts, self._models, self._budget, self._profile = attempts, models, budget, profile

    def seconds(self) -> float:
        """See `Engine.predict_seconds`."""
        return forecast.seconds_of((work for each in self._open() for work in each.work_left()), self._profile)

    def room(self) -> Room:
        """See `Engine.room`."""
        requests = self._open()
        alike = {(request.served.name, request.label): list(request.next_step()) for request in requests}
        company = [work for request in requests for work in alike[request.served.name, request.label]]
        free: dict[str, int] = {}
        for (name, _), one in alike.items():
            free[name] = max(free.get(name, 0), forecast.joining(company, one, self._profile))
        return Room(self._budget.fits([request.served.name for request in requests]), free)

    def step_seconds(self) -> dict[str, dict[str, float]]:
        """See `Engine.step_seconds`."""
        company = [work for request in self._open() for work in request.next_step()]
        found = {}
        for name, latest, rest_s in self._latest():
            works = [*company, *forecast.one_step(latest, with_decode=False)]
            found[name] = {
                "rows": float(forecast.rows_of(works, self._profile)),
                "step_s": forecast.seconds_of(works, self._profile),
                "rest_s": rest_s,
            }
        return found

    def _open(self) -> list[Request]:
        return list(self._attempts.open)

    def _latest(self) -> Iterator[tuple[str, Trip, float]]:
        for name, served in list(self._models.items()):
            latest = served.pace.latest
            if latest is not None:
                yield name, latest, served.pace.rest_s

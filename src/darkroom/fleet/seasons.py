"""How much work comes when: a forecast from the arrivals of past hours; pure.

Hours of a week repeat, and so do hours of a day. The season of an hour is the mean of two estimates by simple
exponential smoothing, one over the same hour of earlier weeks (lag 168), one over the same hour of earlier days
(lag 24); until there is a week of history the day's stands alone. The forecast is the season times a level: how much
came in the last hours against what their seasons said. This is Holt-Winters' multiplicative method without trend, with
the level held near 1 by `PRIOR` (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 5.2,
8.1 and 8.3). With no history at all nothing is foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping

HOUR_S = 3600.0
DAY, WEEK = 24, 168  # hours
SMOOTHING = {DAY: 0.3, WEEK: 0.5}  # the weight of the newest; a week is long enough to forget faster by
LEVEL_HOURS = 3
LEVEL_FADES = 0.5  # the weight of each hour against the next newer one
PRIOR = 0.3  # erlangs that came as foreseen: quiet hours say little about the level
MOST_LEVEL = 8.0


class Seasons:
    """Forecasts from one history: `arrivals` has device seconds of work by start of hour, in unix time."""

    def __init__(self, arrivals: Mapping[float, float], now: float) -> None:
        self._hour = int(now // HOUR_S)
        self._part = max(now / HOUR_S - self._hour, 1e-3)  # of this hour that is over
        self._seen = {int(start // HOUR_S): work_s / HOUR_S for start, work_s in arrivals.items()}
        self._first = min(self._seen, default=self._hour)
        self._level = self._level_now()

    def erlangs(self, at: float) -> float:
        """Device seconds of work a second that are foreseen for that moment."""
        return self._season(int(at // HOUR_S)) * self._level

    def _season(self, hour: int) -> float:
        said = [self._smoothed(hour, lag) for lag in (DAY, WEEK) if hour - lag >= self._first]
        return sum(said) / len(said) if said else 0.0

    def _smoothed(self, hour: int, lag: int) -> float:
        """Of the same hour of earlier days or weeks; hours without an entry had no arrivals."""
        weight = SMOOTHING[lag]
        start = hour - (hour - self._first) // lag * lag
        known = range(start, min(hour, self._hour), lag)
        found = self._seen.get(start, 0.0)
        for earlier in known[1:]:
            found = weight * self._seen.get(earlier, 0.0) + (1 - weight) * found
        return found

    def _level_now(self) -> float:
        came, foreseen = PRIOR + self._seen.get(self._hour, 0.0), PRIOR + self._part * self._season(self._hour)
        for back in range(1, LEVEL_HOURS + 1):
            fades = LEVEL_FADES ** (back - 1)
            came += fades * self._seen.get(self._hour - back, 0.0)
            foreseen += fades * self._season(self._hour - back)
        return min(came / foreseen, MOST_LEVEL)

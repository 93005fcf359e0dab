"""Rules by the clock: more workers kept warm at known times, in one time zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InvalidConfig
from ..fleet_settings import RuleSettings

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class InForce:
    """A rule that asks for workers, and the sentence that says so."""

    workers: int
    reason: str


class Timetable:
    """The rules of the settings. Raises `InvalidConfig` where nobody knows the time zone."""

    def __init__(self, rules: Sequence[RuleSettings], time_zone: str) -> None:
        self._rules = tuple(rules)
        self._zone: tzinfo
        try:
            self._zone = UTC if time_zone == "UTC" else ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            said = f"fleet.time_zone: no time zone {time_zone!r}; allowed: names such as UTC or Europe/Berlin"
            raise InvalidConfig(said, field="fleet.time_zone") from error

    def in_force(self, pool: str, now: float, ahead_s: float) -> Iterator[InForce]:
        """The pool's rules that hold now or in `ahead_s` seconds: `now` is unix time."""
        here, soon = datetime.fromtimestamp(now, self._zone), datetime.fromtimestamp(now + ahead_s, self._zone)
        for rule in (rule for rule in self._rules if rule.pool == pool):
            if holds(rule, here) or holds(rule, soon):
                when = "" if holds(rule, here) else f", in {ahead_s:.0f} s"
                yield InForce(
                    rule.min_workers, f"the rule {rule.start} to {rule.end} keeps {rule.min_workers} warm{when}"
                )


def holds(rule: RuleSettings, at: datetime) -> bool:
    """Whether it is in force at that local time, both ends included; over midnight it is of the day it starts on."""
    clock, begins_today = f"{at:%H:%M}", _is_on(rule, at)
    if rule.start <= rule.end:
        return begins_today and rule.start <= clock <= rule.end
    began_yesterday = _is_on(rule, at - timedelta(days=1))
    return (begins_today and clock >= rule.start) or (began_yesterday and clock <= rule.end)


def _is_on(rule: RuleSettings, at: datetime) -> bool:
    return DAYS[at.weekday()] in rule.days

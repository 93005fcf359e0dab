"""Two reports side by side; pure.

A target is so many times the latency alone. Were each report held to its own, a service that became slower for a single
request would have easier targets; so both are held to what the first one measured, for the kinds of request that both
have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .figures import GOOD_FACTOR, Goodput, attained, within
from .record import Report, Run
from .report import KINDS_TOLD, name_of

Better = Literal["less", "more"]
WIDTH = 30
SAME = 0.02  # a change below that share is not worth a word
SHOWN = 16  # signs of a report's name in a table
MOST_SAID = 80  # signs of what was asked
ONE_BY_ONE = ("rate", "mix")  # of what was asked: the runs have each its own rate, and of a mix each part is compared


@dataclass(frozen=True)
class Compared:
    """One figure of both; None where one does not have it. `unit` is for people. Where `is_fair` is false neither is
    better: they are not of the same."""

    name: str
    first: float | None
    second: float | None
    better: Better
    unit: str = ""
    is_fair: bool = True

    @property
    def change(self) -> float | None:
        """The second over the first, less one."""
        if self.first is None or self.second is None or not self.first:
            return None
        return self.second / self.first - 1

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or nothing where they are about the same."""
        if self.first is None or self.second is None or not self.is_fair:
            return ""
        difference = self.second - self.first
        if abs(difference) <= SAME * abs(self.first):
            return ""
        return "better" if (difference < 0) == (self.better == "less") else "worse"


def alone_of(first: Report, second: Report) -> dict[str, float]:
    """What both are held to: the first one's latency alone, in seconds, of each kind that both have."""
    return {kind: each.typical_s for kind, each in first.solo.items() if kind in second.solo}


def compared_alone(first: Report, second: Report) -> list[Compared]:
    """The figures of the whole reports: latencies alone, and goodput against those of the first."""
    alone = alone_of(first, second)
    found = []
    for kind in list(alone)[:KINDS_TOLD]:
        one, other = first.solo[kind], second.solo[kind]
        mark = "~" if one.is_estimate or other.is_estimate else ""
        found.append(Compared(f"alone: {mark}{kind}", one.typical_s, other.typical_s, "less", "s"))
    both = zip(first.goodput_against(alone), second.goodput_against(alone), strict=True)
    found += [Compared(f"goodput at {a.share:.0%}", _rate(a), _rate(b), "more") for a, b in both]
    return _known(found)


def compared(first: Run, second: Run, alone: Mapping[str, float]) -> list[Compared]:
    """Every figure that both runs can have; `alone` is what `alone_of` says."""
    a, b = first.summary, second.summary
    spreads = (("latency", a.latency_s, b.latency_s), ("delay to first step", a.first_step_s, b.first_step_s))
    is_fair = _succeeded(first) == _succeeded(second)
    found = [
        Compared(f"{name} {which}", getattr(one, which), getattr(other, which), "less", "s", is_fair)
        for name, one, other in spreads
        for which in ("p50", "p90", "p99")
    ]
    slo, other_slo = _attained(first, alone), _attained(second, alone)
    found += [
        Compared(f"within {factor}x alone", slo.get(factor), other_slo.get(factor), "more", "%") for factor in a.slo
    ]
    found.append(Compared("in time a second", _in_time(first, alone), _in_time(second, alone), "more"))
    rates, names = ("throughput_per_s", "images_per_s"), ("requests", "images")
    found += [
        Compared(f"{name} a second", getattr(a, rate), getattr(b, rate), "more")
        for name, rate in zip(names, rates, strict=True)
    ]
    found.append(Compared("errors", a.requests - a.succeeded, b.requests - b.succeeded, "less", "n"))
    found.append(Compared("rows of a batch", _rows(first), _rows(second), "more"))
    found.append(Compared("device seconds an image", a.device_s_per_image, b.device_s_per_image, "less", "s"))
    found.append(Compared("cost of an image", a.cost_usd_per_image, b.cost_usd_per_image, "less", "USD"))
    found.append(Compared("machine, an image", a.machine_usd_per_image, b.machine_usd_per_image, "less", "USD"))
    return _known(found)


def pairs_of(first: Report, second: Report) -> list[tuple[Run, Run]]:
    """The runs in their order, as many as both have."""
    return list(zip(first.runs, second.runs, strict=False))


def differences(first: Report, second: Report) -> list[str]:
    """What was not the same for both, and so may be why their figures differ."""
    found = []
    asked = _asked(first), _asked(second)
    for name in dict.fromkeys((*asked[0], *asked[1])):
        one, other = (_shown(each.get(name)) for each in asked)
        if asked[0].get(name) != asked[1].get(name):
            found.append(f"they do not have the same {name}: {one} and {other}")
    if set(first.solo) != set(second.solo):
        shared = len(alone_of(first, second))
        found.append(f"they do not have the same kinds of request: targets are of the {shared} that both have")
    if any(_succeeded(a) != _succeeded(b) for a, b in pairs_of(first, second)):
        found.append("not as large a share of both succeeded: latencies, which are of those that did, have no verdict")
    if len(first.runs) != len(second.runs):
        found.append(f"one has {len(first.runs)} loads and the other {len(second.runs)}: the first are compared")
    rates = [(a.rate, b.rate) for a, b in pairs_of(first, second) if a.rate and b.rate]
    if any(abs(b / a - 1) > SAME for a, b in rates):
        said = ", ".join(f"{a:.3f} and {b:.3f}" for a, b in rates)
        found.append(f"they were not sent at the same rates: {said} a second (--rate sends the same)")
    return found


def table(names: tuple[str, str], first: Report, second: Report) -> str:
    """All of it, a line each."""
    return "\n".join(_lines(names, first, second))


def said(value: float | None, unit: str) -> str:
    """A figure for people."""
    if value is None:
        return "-"
    if unit == "%":
        return f"{value:.1%}"
    return f"{value:.0f}" if unit == "n" else f"{value:.6f}" if unit == "USD" else f"{value:.3f}"


def change_said(each: Compared) -> str:
    """How much the second differs; of shares in percentage points."""
    if each.first is None or each.second is None:
        return "-"
    if each.unit == "%":
        return f"{(each.second - each.first) * 100:+.1f} pp"
    if each.unit == "n":
        return f"{each.second - each.first:+.0f}"
    return "-" if each.change is None else f"{each.change:+.1%}"


def _lines(names: tuple[str, str], first: Report, second: Report) -> Iterator[str]:
    a, b = short(names)
    alone = alone_of(first, second)
    whole = compared_alone(first, second)
    width = max([WIDTH, *(len(each.name) + 2 for each in whole)])
    head = f"{'':{width}}{a:>17}{b:>17}{'change':>12}"
    yield head
    yield from (_line(each, width) for each in whole)
    for one, other in pairs_of(first, second):
        yield f"{name_of(first, one)} | {name_of(second, other)}"
        yield head
        yield from (_line(each, width) for each in compared(one, other, alone))


def short(names: tuple[str, str]) -> tuple[str, str]:
    """The names as a table's columns hold them: their ends, or their beginnings where they end alike."""
    for part in (slice(-SHOWN, None), slice(SHOWN)):
        one, other = (name[part] for name in names)
        if one != other:
            return one, other
    return f"{names[0][: SHOWN - 4]} (1)", f"{names[1][: SHOWN - 4]} (2)"


def _line(each: Compared, width: int) -> str:
    cells = f"{said(each.first, each.unit):>17}{said(each.second, each.unit):>17}{change_said(each):>12}"
    return f"{each.name:{width}}{cells}  {each.verdict}".rstrip()


def _asked(report: Report) -> dict[str, Any]:
    """What was asked, as its file says it."""
    left = ONE_BY_ONE if report.pattern == "spike" else (*ONE_BY_ONE, "spike")  # which older files do not have
    asked = {name: value for name, value in report.asked.items() if name not in left}
    asked |= {f"{name} of the mix": value for name, value in report.asked.get("mix", {}).items()}
    asked |= {"API": report.dialect, "url": report.url, "price_per_hour_usd": report.price_per_hour_usd}
    found: dict[str, Any] = json.loads(json.dumps(asked))
    return found


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}…"


def _known(found: list[Compared]) -> list[Compared]:
    return [each for each in found if each.first is not None or each.second is not None]


def _rate(goodput: Goodput) -> float | None:
    """0 where not even the lowest rate was kept: that is worse than one that was."""
    return (goodput.rate or 0.0) if goodput.is_known else None


def _succeeded(run: Run) -> float:
    return run.summary.succeeded / run.summary.requests


def _attained(run: Run, alone: Mapping[str, float]) -> dict[str, float]:
    counted = [each for each in run.outcomes if each.kind in alone]
    return attained(counted, alone) if counted else {}


def _in_time(run: Run, alone: Mapping[str, float]) -> float | None:
    counted = [each for each in run.outcomes if each.kind in alone]
    return within(counted, alone, GOOD_FACTOR) / max(run.summary.elapsed_s, 1e-9) if counted else None


def _rows(run: Run) -> float | None:
    return None if run.batches is None else run.batches.mean_rows

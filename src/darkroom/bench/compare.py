"""Two reports side by side; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .record import Report, Run
from .report import name_of

Better = Literal["less", "more"]
WIDTH = 30
SAME = 0.02  # a change below that share is not worth a word


@dataclass(frozen=True)
class Compared:
    """One figure of both; None where one does not have it. `unit` is for people."""

    name: str
    first: float | None
    second: float | None
    better: Better
    unit: str = ""

    @property
    def change(self) -> float | None:
        """The second over the first, less one."""
        if self.first is None or self.second is None or not self.first:
            return None
        return self.second / self.first - 1

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or nothing where they are about the same."""
        if self.first is None or self.second is None:
            return ""
        difference = self.second - self.first
        if abs(difference) <= SAME * abs(self.first):
            return ""
        return "better" if (difference < 0) == (self.better == "less") else "worse"


def compared(first: Run, second: Run) -> list[Compared]:
    """Every figure that both can have."""
    a, b = first.summary, second.summary
    spreads = (("latency", a.latency_s, b.latency_s), ("delay to first step", a.first_step_s, b.first_step_s))
    found = [
        Compared(f"{name} {which}", getattr(one, which), getattr(other, which), "less", "s")
        for name, one, other in spreads
        for which in ("p50", "p90", "p99")
    ]
    found += [Compared(f"within {factor}x alone", a.slo[factor], b.slo[factor], "more", "%") for factor in a.slo]
    rates = ("in_time_per_s", "throughput_per_s", "images_per_s")
    names = ("in time", "requests", "images")
    found += [
        Compared(f"{name} a second", getattr(a, rate), getattr(b, rate), "more")
        for name, rate in zip(names, rates, strict=True)
    ]
    found.append(Compared("errors", a.requests - a.succeeded, b.requests - b.succeeded, "less", "n"))
    found.append(Compared("rows of a batch", _rows(first), _rows(second), "more"))
    found.append(Compared("device seconds an image", a.device_s_per_image, b.device_s_per_image, "less", "s"))
    found.append(Compared("cost of an image", a.cost_usd_per_image, b.cost_usd_per_image, "less", "USD"))
    found.append(Compared("machine, an image", a.machine_usd_per_image, b.machine_usd_per_image, "less", "USD"))
    return [each for each in found if each.first is not None or each.second is not None]


def pairs_of(first: Report, second: Report) -> list[tuple[Run, Run]]:
    """The runs in their order, as many as both have."""
    return list(zip(first.runs, second.runs, strict=False))


def differences(first: Report, second: Report) -> list[str]:
    """What was not the same for both, and so may be why their figures differ."""
    found = []
    for name in ("pattern", "seed", "mix", "requests", "duration_s", "users", "compress"):
        one, other = first.asked.get(name), second.asked.get(name)
        if one != other:
            found.append(f"they do not have the same {name}: {one} and {other}")
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
    return (
        f"{each.second - each.first:+.0f}"
        if each.unit == "n"
        else "-"
        if each.change is None
        else f"{each.change:+.1%}"
    )


def _lines(names: tuple[str, str], first: Report, second: Report) -> Iterator[str]:
    a, b = (name[-16:] for name in names)
    for one, other in pairs_of(first, second):
        yield f"{name_of(first, one)} | {name_of(second, other)}"
        yield f"{'':{WIDTH}}{a:>17}{b:>17}{'change':>12}"
        for each in compared(one, other):
            cells = f"{said(each.first, each.unit):>17}{said(each.second, each.unit):>17}{change_said(each):>12}"
            yield f"{each.name:{WIDTH}}{cells}  {each.verdict}".rstrip()


def _rows(run: Run) -> float | None:
    return None if run.batches is None else run.batches.mean_rows

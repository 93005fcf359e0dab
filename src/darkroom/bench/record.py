"""What a benchmark leaves behind, and its file: every outcome is in it, from which every figure can be made again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput
from .dialects import bare
from .figures import FOR_P99, GOOD_FACTOR, GOOD_SHARES, Goodput, Outcome, Summary, attained, goodput_of, summary_of
from .occupancy import Batches, Sample
from .solo import Solo

VERSION = 1
STEADY = ("poisson", "burst")  # patterns whose rate is one number


@dataclass(frozen=True)
class Run:
    """One load: `rate` is the requests a second that were to arrive, None of a crowd; `batches` None where unknown."""

    rate: float | None
    outcomes: Sequence[Outcome]
    summary: Summary
    batches: Batches | None = None


@dataclass(frozen=True)
class Report:
    """What came of it. `asked` is what was asked for, as JSON; `capacity` None where it was not measured; `notes` are
    what a reader must know, `began_at` is RFC 3339 in UTC."""

    url: str
    dialect: str
    began_at: str
    asked: Mapping[str, Any]
    capacity: float | None
    solo: Mapping[str, Solo]
    runs: Sequence[Run]
    price_per_hour_usd: float | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def pattern(self) -> str:
        """How requests came: poisson, burst, ramp, crowd or replay."""
        return str(self.asked["pattern"])

    @property
    def goodput(self) -> list[Goodput]:
        """For each share to be kept, of the rates that came; none where there was no rate."""
        if self.pattern not in STEADY:
            return []
        return self.goodput_against({kind: each.typical_s for kind, each in self.solo.items()})

    def goodput_against(self, alone: Mapping[str, float]) -> list[Goodput]:
        """The same against such latencies alone, of the requests of those kinds."""
        tried, fewest = [], FOR_P99
        for run in self.runs:
            counted = [each for each in run.outcomes if each.kind in alone]
            rate = self.realised(run)
            if rate is not None and counted:
                tried.append((rate, attained(counted, alone)[f"{GOOD_FACTOR:g}"]))
                fewest = min(fewest, len(counted))
        return [_goodput(tried, share, fewest) for share in GOOD_SHARES]

    def realised(self, run: Run) -> float | None:
        """Requests a second that the plan really had: a few draws seldom give the rate that was asked for. None where
        that was not one number."""
        if self.pattern not in STEADY or run.rate is None:
            return None
        over_s = self.asked.get("duration_s") or max(each.at_s for each in run.outcomes)
        return len(run.outcomes) / over_s if over_s else run.rate


def run_of(
    rate: float | None,
    outcomes: Sequence[Outcome],
    solo: Mapping[str, Solo],
    price_per_hour_usd: float | None,
    batches: Batches | None,
) -> Run:
    """A run with its figures."""
    alone = {kind: each.typical_s for kind, each in solo.items()}
    return Run(rate, outcomes, summary_of(outcomes, alone, price_per_hour_usd), batches)


def _goodput(tried: Sequence[tuple[float, float]], share: float, fewest: int) -> Goodput:
    """Of pairs of a rate and the share in time, where `fewest` is how many requests the smallest load had."""
    if not tried or (share >= 0.99 and fewest < FOR_P99):
        return Goodput(share, None, is_bound=False, is_known=False)
    return goodput_of(tried, share)


def as_json(report: Report) -> dict[str, Any]:
    """All of it."""
    return {
        "darkroom_bench": VERSION,
        "url": report.url,
        "dialect": report.dialect,
        "began_at": report.began_at,
        "asked": dict(report.asked),
        "notes": list(report.notes),
        "price_per_hour_usd": report.price_per_hour_usd,
        "capacity_per_s": report.capacity,
        "solo_s": {kind: {"typical": each.typical_s, "each": list(each.each)} for kind, each in report.solo.items()},
        "goodput": [asdict(each) for each in report.goodput],
        "runs": [
            {
                "rate_per_s": run.rate,
                "realised_rate_per_s": report.realised(run),
                "summary": asdict(run.summary),
                "batches": None if run.batches is None else _said_batches(run.batches),
                "outcomes": [asdict(outcome) for outcome in run.outcomes],
            }
            for run in report.runs
        ],
    }


def read_report(path: Path, field: str) -> Report:
    """The report in a file that `--json` wrote; figures are made anew. Raises `BadInput`."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}", field=field) from error
    if not isinstance(said, dict) or said.get("darkroom_bench") != VERSION:
        raise BadInput(f"{path} is not what darkroom bench --json writes (version {VERSION})", field=field)
    try:
        return _report(said)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise BadInput(f"{path} is not whole: {type(error).__name__} {error}", field=field) from error


def _report(said: Mapping[str, Any]) -> Report:
    solo = {kind: Solo(float(each["typical"]), tuple(each["each"])) for kind, each in said["solo_s"].items()}
    price = _number(said["price_per_hour_usd"])
    runs = [
        run_of(
            _number(each["rate_per_s"]),
            [Outcome(**outcome) for outcome in each["outcomes"]],
            solo,
            price,
            None if each["batches"] is None else _read_batches(each["batches"]),
        )
        for each in said["runs"]
    ]
    about = {name: said[name] for name in ("dialect", "began_at", "asked")} | {"url": bare(str(said["url"]))}
    about |= {"capacity": _number(said["capacity_per_s"]), "notes": tuple(map(str, said["notes"]))}
    report = Report(**about, solo=solo, runs=runs, price_per_hour_usd=price)
    if not runs or not report.pattern:
        raise ValueError("it has no run")
    return report


def _number(said: Any) -> float | None:
    return None if said is None else float(said)


def _said_batches(batches: Batches) -> dict[str, Any]:
    rows = {str(rows): count for rows, count in batches.rows.items()}
    return {"mean_rows": batches.mean_rows, "rows": rows, "samples": [asdict(sample) for sample in batches.samples]}


def _read_batches(said: Mapping[str, Any]) -> Batches:
    samples = tuple(Sample(**sample) for sample in said["samples"])
    return Batches({int(rows): int(count) for rows, count in said["rows"].items()}, samples)

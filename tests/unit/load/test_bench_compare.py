"""Two reports beside each other: what both are held to, and what was not the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from darkroom.bench import compare
from darkroom.bench.bench import Asked
from darkroom.bench.figures import Outcome
from darkroom.bench.page import page_of_two
from darkroom.bench.plan import Arrivals, Mix
from darkroom.bench.record import Report, run_of
from darkroom.bench.replay import Replay
from darkroom.bench.solo import Solo

KIND = "4 steps"


def made(took_s: float, alone: dict[str, float], failed: int = 0, how: Any = None, mix: Mix | None = None) -> Report:
    solo = {kind: Solo(seconds, (seconds,)) for kind, seconds in alone.items()}
    kinds = list(alone)
    outcomes = [
        Outcome(
            n, kinds[n % len(kinds)], n + 1.0, n + 1.0, n + 1.1, n + 1.0 + took_s, "busy" if n < failed else None, 1
        )
        for n in range(20)
    ]
    asked = Asked(how or Arrivals("poisson", 1.0, 20), mix or Mix((4,)), rates=(1.0,)).as_json()
    return Report("http://a", "native", "now", asked, None, solo, [run_of(1.0, outcomes, solo, None, None)])


def rows(first: Report, second: Report) -> dict[str, compare.Compared]:
    alone = compare.alone_of(first, second)
    found = compare.compared(first.runs[0], second.runs[0], alone) + compare.compared_alone(first, second)
    return {each.name: each for each in found}


def test_a_service_that_is_slower_alone_too_has_no_easier_targets() -> None:
    found = rows(made(1.0, {KIND: 1.0}), made(3.0, {KIND: 3.0}))
    assert (found["within 2x alone"].first, found["within 2x alone"].second) == (1.0, 0.0)
    assert found["within 2x alone"].verdict == "worse"
    assert found["in time a second"].second == 0.0
    assert (found[f"alone: {KIND}"].second, found[f"alone: {KIND}"].verdict) == (3.0, "worse")
    assert (found["goodput at 90%"].first, found["goodput at 90%"].verdict) == (1.0, "worse")
    assert "goodput at 99%" not in found  # of twenty requests


def test_targets_are_of_the_kinds_that_both_have() -> None:
    first, second = made(1.0, {KIND: 1.0, "9 steps": 0.1}), made(1.0, {KIND: 0.1})
    found = rows(first, second)
    assert (found["within 1.2x alone"].first, found["within 1.2x alone"].second) == (1.0, 1.0)
    assert any("targets are of the 1 that both have" in each for each in compare.differences(first, second))


def test_reports_with_no_kind_in_common_have_no_targets() -> None:
    first, second = made(1.0, {KIND: 1.0}), made(1.0, {"9 steps": 0.1})
    found = rows(first, second)
    assert not [name for name in found if "alone" in name or "in time" in name or "goodput" in name]
    assert "latency p50" in found
    assert "</html>" in page_of_two(("a", "b"), first, second)


def test_latencies_of_other_shares_of_the_requests_have_no_verdict() -> None:
    first, second = made(1.0, {KIND: 1.0}), made(0.5, {KIND: 1.0}, failed=5)
    found = rows(first, second)
    assert found["latency p50"].change == pytest.approx(-0.5)
    assert (found["latency p50"].verdict, found["delay to first step p50"].verdict) == ("", "")
    assert found["errors"].verdict == "worse"
    assert any("latencies" in each and "no verdict" in each for each in compare.differences(first, second))
    assert rows(first, made(0.5, {KIND: 1.0}))["latency p50"].verdict == "better"


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("burst_size", made(1.0, {KIND: 1.0}, how=Arrivals("poisson", 1.0, 20, burst_size=3))),
        ("ramp_from", made(1.0, {KIND: 1.0}, how=Arrivals("poisson", 1.0, 20, ramp_from=0.5))),
        ("models", made(1.0, {KIND: 1.0}, how=Replay("a.csv", models={"x": ("y",)}))),
        ("name", made(1.0, {KIND: 1.0}, how=Replay("a.csv"))),
        ("images of the mix", made(1.0, {KIND: 1.0}, mix=Mix((4,), images=2))),
        ("API", replace(made(1.0, {KIND: 1.0}), dialect="openai")),
        ("url", replace(made(1.0, {KIND: 1.0}), url="http://b")),
        ("price_per_hour_usd", replace(made(1.0, {KIND: 1.0}), price_per_hour_usd=2.0)),
    ],
)
def test_whatever_was_asked_otherwise_is_said(what: str, other: Report) -> None:
    first = made(1.0, {KIND: 1.0})
    assert compare.differences(first, first) == []
    assert any(f"the same {what}: " in each for each in compare.differences(first, other))


def test_a_file_from_before_there_were_spikes_compares_as_it_did() -> None:
    now = made(1.0, {KIND: 1.0})
    before = replace(now, asked={name: value for name, value in now.asked.items() if name != "spike"})
    assert compare.differences(before, now) == []


def test_names_that_end_alike_are_told_apart() -> None:
    assert compare.short(("before", "after")) == ("before", "after")
    assert compare.short(("monday-with-the-same-tail", "friday-with-the-same-tail")) == (
        "monday-with-the-",
        "friday-with-the-",
    )
    assert compare.short(("a" * 20 + "x" + "b" * 20, "a" * 20 + "y" + "b" * 20)) == (
        f"{'a' * 12} (1)",
        f"{'a' * 12} (2)",
    )

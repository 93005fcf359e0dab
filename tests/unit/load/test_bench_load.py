"""Loads against a service that the test plays: who waits for whom, and what a whole benchmark leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from darkroom.bench.bench import Asked, Listening, measure
from darkroom.bench.dialects import Answered, Now
from darkroom.bench.load import Load, Progress
from darkroom.bench.page import page
from darkroom.bench.plan import Arrivals, Crowd, Mix, Wanted, plan_of
from darkroom.bench.record import as_json, read_report
from darkroom.bench.replay import Replay
from darkroom.errors import DarkroomError, QueueFull
from darkroom.traces import Request

MIX = Mix((1, 2))


class Played:
    """Takes a hundredth of a second a step and image, for as many at once as come; refuses prompts that say so."""

    name, url, asking = "played", "http://nowhere", None

    def __init__(self) -> None:
        self.asked: list[Wanted] = []
        self.prepared: list[Wanted] = []
        self.live = self.most = 0

    async def prepare(self, plan: Sequence[Wanted]) -> list[str]:
        self.prepared = list(plan)
        return ["it is played"]

    async def ask(self, wanted: Wanted, now: Now) -> Answered:
        self.asked.append(wanted)
        self.live += 1
        self.most = max(self.most, self.live)
        try:
            await asyncio.sleep(0.01 * wanted.steps * wanted.images)
        finally:
            self.live -= 1
        if wanted.prompt == "refuse":
            raise QueueFull("full")
        if wanted.prompt == "fail":
            return Answered(now(), error=DarkroomError("no"))
        return Answered(now(), now() - 0.001, wanted.images, cost_usd=0.5)

    async def close(self) -> None:
        pass


def ignored(_: object) -> None:
    pass


def test_a_crowd_has_one_request_of_each_user_at_a_time_and_stops_at_its_count() -> None:
    there = Played()
    plan = (wanted for wanted in plan_of(Arrivals("poisson", 1.0, requests=100), MIX, 1))
    found = asyncio.run(Load(there).play(Crowd(4, requests=19), plan, ignored))
    assert there.most == 4
    assert [outcome.number for outcome in found] == list(range(19))
    for outcome in found:
        assert outcome.at_s <= outcome.sent_s  # latency counts from its own sending, not from a plan
    assert found[4].at_s >= min(outcome.ended_s or 0.0 for outcome in found[:4])


def test_a_crowd_ends_with_its_time_and_what_it_began() -> None:
    there = Played()
    plan = (wanted for wanted in plan_of(Arrivals("poisson", 1.0, requests=1000), MIX, 1))
    found = asyncio.run(Load(there).play(Crowd(2, duration_s=0.1), plan, ignored))
    assert 2 <= len(found) < 30
    assert all(outcome.at_s < 0.1 and outcome.ended_s is not None for outcome in found)


def test_open_arrivals_wait_for_nobody() -> None:
    there = Played()
    told: list[Progress] = []
    plan = [Wanted(n, 0.0, 10, "x", 0) for n in range(8)]
    asyncio.run(Load(there).run(plan, told.append))
    assert there.most == 8
    assert (told[-1].ended, len(told[-1].latencies), told[-1].planned) == (8, 8, 8)


def test_what_is_refused_and_what_fails_are_told_apart_by_their_codes() -> None:
    plan = [Wanted(n, 0.0, 1, prompt, 0) for n, prompt in enumerate(("x", "refuse", "fail"))]
    told: list[Progress] = []
    found = asyncio.run(Load(Played()).run(plan, told.append))
    assert [outcome.code for outcome in found] == [None, "queue_full", "internal"]
    assert told[-1].failed == 2
    with pytest.raises(QueueFull):
        asyncio.run(Load(Played()).run(plan))


def test_a_benchmark_of_several_rates_measures_alone_first_and_reads_back(tmp_path: Path) -> None:
    there, notes = Played(), list[str]()
    asked = Asked(Arrivals("poisson", 1.0, requests=20), MIX, rates=(50.0, 100.0), price_per_hour_usd=3.6)
    report = asyncio.run(measure(asked, there, Listening(notes.append, ignored)))
    assert {kind: len(solo.each) for kind, solo in report.solo.items()} == {"1 steps": 3, "2 steps": 3}
    assert [run.rate for run in report.runs] == [50.0, 100.0]
    assert len(there.asked) == 2 + 6 + 40  # warm, alone, and the two loads
    assert [goodput.share for goodput in report.goodput] == [0.9, 0.99]
    assert report.runs[0].summary.cost_usd_per_image == 0.5
    assert report.notes[0] == "it is played"
    assert "batches were is not known" in report.notes[-2]
    assert "take 100 requests" in report.notes[-1]
    assert [goodput.is_known for goodput in report.goodput] == [True, False]
    file = tmp_path / "run.json"
    file.write_text(json.dumps(as_json(report)))
    assert page(read_report(file, "--compare")) == page(report)


def test_a_load_is_a_share_of_the_capacity_that_was_measured() -> None:
    asked = Asked(Arrivals("burst", 1.0, requests=4, burst_size=2), MIX, loads=(0.5,))
    report = asyncio.run(measure(asked, Played(), Listening(ignored, ignored)))
    assert report.capacity is not None
    assert [run.rate for run in report.runs] == [0.5 * report.capacity]


def test_a_mix_of_many_kinds_is_measured_from_its_least_to_its_most_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.bench.bench.MEASURED_KINDS", 4)
    asked = Asked(Crowd(1, requests=1), Mix((1, 2, 3, 4, 5, 5, 6)))
    report = asyncio.run(measure(asked, Played(), Listening(ignored, ignored)))
    known = [kind for kind, solo in report.solo.items() if not solo.is_estimate]
    assert known == ["5 steps", "1 steps", "2 steps", "6 steps"]


def test_every_model_of_a_trace_is_warm_before_anything_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.bench.bench.MEASURED_KINDS", 1)
    there = Played()
    trace = [Request(0.01 * n, 1.0, model, steps=1) for n, model in enumerate("aabc")]
    asyncio.run(measure(Asked(Replay("t.csv"), MIX, trace=trace), there, Listening(ignored, ignored)))
    assert [wanted.model for wanted in there.asked[:3]] == ["a", "b", "c"]


def test_a_replay_prepares_its_plan_and_measures_what_comes_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.bench.bench.MEASURED_KINDS", 2)
    there, notes = Played(), list[str]()
    trace = [Request(10.0 * n, 1.0, "m", images, steps=1) for n, images in enumerate((1, 1, 1, 2, 2, 4))]
    asked = Asked(Replay("t.csv", compress=1000.0), MIX, trace=trace)
    report = asyncio.run(measure(asked, there, Listening(notes.append, ignored)))
    assert [wanted.images for wanted in there.prepared] == [1, 1, 1, 2, 2, 4]
    assert {kind: solo.is_estimate for kind, solo in report.solo.items()} == {
        "1 steps, m": False,
        "1 steps, 2 images, m": False,
        "1 steps, 4 images, m": True,
    }
    assert report.runs[0].rate == pytest.approx(6 / 0.05)
    assert any("1 of 3 kinds were not measured alone" in note for note in notes)
    assert [wanted.images for wanted in there.asked[:2]] == [1, 2]  # its one model is warm with those
    assert report.goodput == []

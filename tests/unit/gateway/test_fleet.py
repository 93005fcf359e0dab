"""The fleet's figures from jobs: what counts in which part of the window, and what it adds up to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from darkroom.core import Artifact, Job, JobState
from darkroom.gateway.fleet import BUCKETS, Seen, percentile, told
from darkroom.jobs.store import Queue
from tests.unit.worker.jobs import running_job

NOW, WINDOW_S = 1_800_000_000.0, 3600.0
EMPTY = Queue(0, 0, 0, 0.0, None, {})


def job(job_id: str, state: str, ended_s_ago: float = 10.0, took_s: float = 4.0, **said: Any) -> Job:
    """One that ended then."""
    ended = NOW - ended_s_ago
    times = {"created": ended - took_s, "queued": ended - took_s, state: ended}
    return replace(running_job(id=job_id), state=JobState(state), times=times, **said)


def made(images: int = 1) -> tuple[Artifact, ...]:
    return tuple(Artifact(f"a{k}", "owl", "key", "image/png", 1, NOW) for k in range(images))


def seen(*jobs: Job, queue: Queue = EMPTY, **said: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"queued": (), "running": (), "is_partial": False, **said}
    return told(Seen(NOW, WINDOW_S, jobs, queue=queue, **given))


def test_what_ended_in_the_window_counts_and_nothing_else() -> None:
    figures = seen(
        job("in", "succeeded", outputs=made(2), metrics={"device_s": 3.0, "cost_usd": 0.5}),
        job("early", "succeeded", ended_s_ago=WINDOW_S + 1, outputs=made()),
        job("gone", "cancelled", metrics={"device_s": 1.0}),
        running_job(id="live"),
    )
    totals = figures["totals"]
    assert (totals["jobs"], totals["succeeded"], totals["cancelled"], totals["failed"]) == (2, 1, 1, 0)
    assert (totals["images"], totals["device_s"], totals["cost_usd"]) == (2, 4.0, 0.5)
    assert (totals["cost_per_hour"], totals["cost_per_image"]) == (0.5, 0.25)
    assert (totals["p50_s"], totals["p99_s"]) == (4.0, 4.0)


def test_each_job_is_in_the_part_of_the_window_in_which_it_ended() -> None:
    width_s = WINDOW_S / BUCKETS
    jobs = [job(f"j{k}", "succeeded", ended_s_ago=k * width_s, took_s=k) for k in range(BUCKETS + 1)]
    series = seen(*jobs)["series"]
    assert len(series) == BUCKETS + 1
    assert [part["succeeded"] for part in series] == [1] * (BUCKETS + 1)
    assert [part["p50_s"] for part in series] == [float(k) for k in reversed(range(BUCKETS + 1))]
    assert [part["at"] for part in series] == sorted(part["at"] for part in series)


def test_no_image_has_no_price_and_no_success_no_latency() -> None:
    totals = seen(job("f", "failed", errors=({"code": "internal", "message": "no"},)))["totals"]
    assert (totals["cost_per_image"], totals["p50_s"]) == (None, None)


def test_what_was_asked_for_later_is_not_late() -> None:
    later = job("later", "succeeded", took_s=1000.0, run_at=NOW - 15.0)
    assert seen(later)["totals"]["p50_s"] == pytest.approx(5.0)


def test_tenants_have_what_they_used_and_what_is_live_those_that_used_most_first() -> None:
    waiting = replace(running_job(id="w"), tenant="hare", state=JobState.QUEUED)
    figures = seen(
        job("a", "succeeded", tenant="owl", outputs=made(), metrics={"device_s": 9.0, "cost_usd": 0.1}),
        job("b", "succeeded", tenant="fox", metrics={"device_s": 10.0}),
        queued=(waiting,),
        running=(replace(running_job(id="r"), tenant="owl"),),
    )
    assert [one["tenant"] for one in figures["tenants"]] == ["fox", "owl", "hare"]
    owl, hare = figures["tenants"][1:]
    assert (owl["jobs"], owl["images"], owl["running"], owl["cost_usd"]) == (1, 1, 1, 0.1)
    assert (hare["jobs"], hare["queued"]) == (0, 1)


def test_errors_come_newest_first_with_their_text() -> None:
    error = {"code": "deadline_exceeded", "message": "too late"}
    figures = seen(
        job("old", "failed", ended_s_ago=90, errors=(error,)), job("new", "failed", errors=({**error, "code": "x"},))
    )
    assert [(one["job_id"], one["code"]) for one in figures["errors"]] == [("new", "x"), ("old", "deadline_exceeded")]
    assert figures["errors"][1]["message"] == "too late"


def test_the_queue_says_by_model_how_long_its_oldest_has_waited() -> None:
    queue = Queue(3, 1, 2, 5.0, NOW - 30, {"a": 2, "b": 1})
    waiting = [
        replace(
            running_job(id=f"q{k}"), model=model, state=JobState.QUEUED, times={"created": 0.0, "queued": NOW - age}
        )
        for k, (model, age) in enumerate([("a", 5.0), ("a", 30.0), ("b", 7.0)])
    ]
    running = (replace(running_job(id="r"), model="c"),)
    said = seen(queue=queue, queued=tuple(waiting), running=running)["queue"]
    assert (said["depth"], said["running"], said["scheduled"], said["oldest_s"]) == (3, 1, 2, 30.0)
    assert [tuple(one.values()) for one in said["by_model"]] == [
        *(("a", 2, 0, 30.0), ("b", 1, 0, 7.0), ("c", 0, 1, None)),
    ]
    assert [one["oldest_s"] for one in seen(queue=queue, queued=None)["queue"]["by_model"]] == [None, None]


@pytest.mark.parametrize(("share", "value"), [(50, 5.0), (90, 9.0), (99, 10.0), (100, 10.0), (1, 1.0)])
def test_percentiles_are_by_the_nearest_rank(share: float, value: float) -> None:
    assert percentile([float(k) for k in range(1, 11)], share) == value
    assert percentile([], share) is None

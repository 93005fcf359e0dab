"""How a worker ends: what it finishes, what it hands back, and that nothing is lost by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from darkroom.core import JobState
from darkroom.worker.events import AttemptEnded, StateChanged, StopAsked

from .workers import Place, Running, place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

LONG = 900  # steps: more than any test waits for


def started(at: Place, running: Running, **said: object) -> str:
    """A job that has taken a step."""
    job_id = at.submit(**said)
    at.until(lambda: at.job(job_id).step > 0 or at.job(job_id).is_final)
    return job_id


def states(running: Running) -> list[str]:
    return [event.state for event in running.heard.of(StateChanged)]


def test_a_draining_worker_finishes_what_fits(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 300") as at, working(at) as running:
        job_id = started(at, running, num_inference_steps=30)
        running.worker.ask_drain()
        running.join()
        assert at.job(job_id).state == JobState.SUCCEEDED
        assert states(running) == ["ready", "draining", "stopped"]
        (report,) = at.store.workers(0.0)
        assert (report.state, report.in_flight) == ("stopped", 0)
        assert running.failures == []


def test_a_draining_worker_claims_nothing(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 300") as at, working(at) as running:
        started(at, running, num_inference_steps=40)
        running.worker.ask_drain()
        at.until(lambda: "draining" in states(running))
        late = at.submit()
        running.join()
        assert at.job(late).state == JobState.QUEUED


def test_what_cannot_be_finished_in_time_goes_back_at_once_and_is_charged_to_nobody(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 0.01") as at:
        with working(at) as running:
            job_id = started(at, running, num_inference_steps=LONG)
            running.worker.ask_drain()
            running.join()
            assert running.heard.of(StopAsked) == [StopAsked(job_id, "released")]
            assert running.heard.of(AttemptEnded)[0].status == "released"
        job = at.job(job_id)
        assert (job.state, job.attempt, job.errors) == (JobState.QUEUED, 0, ())
        assert "requeued" in [event.type for event in at.store.events(job_id, 0)]
        (again,) = at.store.claim(claimant("w2"), 1, time.time())
        assert (again.id, again.attempt) == (job_id, 1)


def test_asked_twice_a_worker_hands_back_at_once(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 3000") as at, working(at) as running:
        job_id = started(at, running, num_inference_steps=LONG)
        running.worker.ask_drain()
        at.until(lambda: "draining" in states(running))
        assert at.job(job_id).state == JobState.RUNNING
        running.worker.ask_drain()
        running.join()
        job = at.job(job_id)
        assert (job.state, job.attempt) == (JobState.QUEUED, 0)


def test_only_a_second_signal_hurries_a_notice_never_does(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 3000") as at, working(at) as running:
        job_id = started(at, running, num_inference_steps=LONG)
        running.worker.ask_drain("taken away", hurries=False)
        at.until(lambda: "draining" in states(running))
        for asked in (running.worker.ask_drain, lambda: running.worker.ask_drain("again", hurries=False)):
            asked()
            came = at.job(job_id).step
            at.until(lambda came=came: at.job(job_id).step > came + 1)  # it goes on
        running.worker.ask_drain()
        running.join()
        assert at.job(job_id).state == JobState.QUEUED
        assert "taken away" in [event.data.get("reason") for event in at.store.events(job_id, 0)]


def test_an_operator_can_have_a_worker_drain(tmp_path: Path) -> None:
    with place(tmp_path, "heartbeat_s = 0.1\ndrain_s = 300") as at, working(at) as running:
        job_id = started(at, running, num_inference_steps=30)
        assert at.store.ask_drain("w1")
        running.join()
        assert at.job(job_id).state == JobState.SUCCEEDED
        assert states(running)[-1] == "stopped"


def test_a_worker_that_is_stopped_before_it_is_ready_ends(tmp_path: Path) -> None:
    with place(tmp_path) as at, working(at, wait_ready=False) as running:
        running.worker.ask_stop()
        running.join()
        assert running.failures == []


def claimant(worker: str) -> object:
    from darkroom.jobs.store import Claimant

    return Claimant(worker, ("landscapes",))

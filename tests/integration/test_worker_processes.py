"""Workers as processes, and how they die: no job is lost, none is made twice, none burns its neighbours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from darkroom.core import JobState
from darkroom.storage.objects import prefix_for_outputs

from .workers import PATIENCE_S, Place, Process, launch, launched, place

pytestmark = pytest.mark.slow

LONG = 900


def mid_step(at: Place, job_id: str) -> Callable[[], bool]:
    """Whether the job is on its way."""
    return lambda: at.job(job_id).state == JobState.RUNNING and at.job(job_id).step > 0


def test_a_job_of_a_killed_worker_is_finished_by_another_after_its_lease(tmp_path: Path) -> None:
    with place(tmp_path) as at:
        with launched(at, "w1") as first:
            job_id = at.submit(num_inference_steps=30)
            at.until(mid_step(at, job_id))
            first.kill()
        assert at.store.rescue(time.time()) == []  # nobody has been told, and the lease holds
        assert at.job(job_id).state == JobState.RUNNING
        assert at.store.rescue(time.time() + at.settings.serve.lease_s) == [job_id]
        with launched(at, "w2"):
            (job,) = at.wait(job_id)
        assert (job.state, job.worker, job.attempt) == (JobState.SUCCEEDED, "w2", 2)
        assert [error["code"] for error in job.errors] == ["worker_died"]
        assert list(at.storage.list(prefix_for_outputs(job_id))) == [job.outputs[0].key]


def test_a_worker_that_begins_again_under_its_name_takes_its_jobs_up_at_once(tmp_path: Path) -> None:
    with place(tmp_path, "lease_s = 3000") as at:
        with launched(at, "pod-0") as first:
            job_id = at.submit(num_inference_steps=30)
            at.until(mid_step(at, job_id))
            first.kill()
        assert at.job(job_id).state == JobState.RUNNING
        with launched(at, "pod-0"):
            (job,) = at.wait(job_id)
        assert (job.state, job.worker, job.attempt) == (JobState.SUCCEEDED, "pod-0", 2)
        assert [error["code"] for error in job.errors] == ["worker_died"]


def test_sigterm_drains_and_hands_back(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 0.01") as at, launched(at, "w1") as process:
        job_id = at.submit(num_inference_steps=LONG)
        at.until(mid_step(at, job_id))
        assert process.terminate() == 0
        job = at.job(job_id)
        assert (job.state, job.attempt, job.errors) == (JobState.QUEUED, 0, ())
        (report,) = at.store.workers(0.0)
        assert (report.id, report.state) == ("w1", "stopped")


def test_sigint_hands_back_without_waiting(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 3000") as at, launched(at, "w1") as process:
        job_id = at.submit(num_inference_steps=LONG)
        at.until(mid_step(at, job_id))
        process.popen.send_signal(signal.SIGINT)
        assert process.popen.wait(PATIENCE_S) == 0
        assert at.job(job_id).state == JobState.QUEUED


def test_a_worker_on_a_cpu_runs_below_the_gateways_priority(tmp_path: Path) -> None:
    with place(tmp_path) as at, launched(at, "w1") as process:
        (report,) = at.store.workers(0.0)
        if report.facts["device"] != "cpu":
            pytest.skip("on an accelerator the worker does not compete for the cores")
        assert psutil.Process(process.popen.pid).nice() > os.getpriority(os.PRIO_PROCESS, 0)
        assert report.facts["pid"] == process.popen.pid


def test_one_poisonous_job_among_twelve_ends_alone(tmp_path: Path) -> None:
    """Whatever worker has the poison in flight dies in the middle of a forward; it is started again, as a supervisor
    would, and what it had is released.
    """
    with place(tmp_path, "claim_ahead_s = 60\nmax_attempts = 3") as at:
        ids = at.submit_all([{"seed": k, "num_inference_steps": 4} for k in range(12)])
        poison, innocents = ids[5], [job_id for job_id in ids if job_id != ids[5]]
        deaths = supervise(at, poison, until=lambda: all(at.job(job_id).is_final for job_id in ids))
        ended = {job_id: at.job(job_id) for job_id in ids}
        assert {ended[job_id].state for job_id in innocents} == {JobState.SUCCEEDED}
        assert {len(ended[job_id].outputs) for job_id in innocents} == {1}
        assert {ended[job_id].errors for job_id in innocents} == {()}
        assert ended[poison].state == JobState.FAILED
        assert [error["code"] for error in ended[poison].errors] == ["worker_died"] * 3
        assert deaths == 4  # one in company, which nobody is charged for, and three alone


def supervise(at: Place, poison: str, *, until: Callable[[], bool]) -> int:
    """Keep one worker alive until all is done; returns how often it died."""
    deaths, process = 0, launch(at, "w0", poison)

    def tend() -> bool:
        nonlocal deaths, process
        if process.popen.poll() is not None:
            assert process.popen.returncode == -signal.SIGKILL, (at.folder / f"{process.worker_id}.log").read_text()
            at.store.release_worker(process.worker_id, "its process ended", time.time())
            deaths += 1
            process = launch(at, f"w{deaths}", poison)
        return until()

    try:
        at.until(tend, keep=True)
    finally:
        end(process)
    return deaths


def end(process: Process) -> None:
    if process.popen.poll() is None:
        process.kill()

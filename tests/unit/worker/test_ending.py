"""What an error is to a job: told in words, tried again or not."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from darkroom import errors
from darkroom.core import Job, JobState
from darkroom.engine.handle import Handle
from darkroom.jobs.store import Store
from darkroom.storage.objects import open_storage
from darkroom.worker.attempt import Attempt, Stop
from darkroom.worker.ending import FATAL, Endings, describe, is_passing
from darkroom.worker.events import AttemptEnded, WorkerEvent
from darkroom.worker.metering import metrics_of

from .jobs import running_job


@pytest.mark.parametrize(
    "error",
    [
        errors.StorageUnavailable("no disk"),
        errors.StoreUnavailable("no store"),
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried …"),
    ],
)
def test_what_may_pass_is_tried_again(error: BaseException) -> None:
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.BadInput("no", field="prompt"),
        errors.NotFinite("NaN"),
        errors.DeadlineExceeded("late"),
        errors.CorruptWeights("torn"),
        errors.NotFound("no such artifact"),
        ValueError("the pipeline's own"),
        RuntimeError("shapes do not fit"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error: BaseException) -> None:
    assert not is_passing(error)


def test_an_error_of_ours_keeps_its_code_and_field() -> None:
    said = describe(errors.SizeNotOffered("no such size", field="width"))
    assert said == {"code": "size_not_offered", "message": "no such size", "field": "width"}


def test_a_foreign_error_is_told_by_its_first_line_and_without_its_trace() -> None:
    said = describe(ValueError("first line\nFile 'secret.py', line 7"))
    assert said["code"] == "internal"
    assert said["message"] == "the pipeline failed: ValueError: first line"
    assert describe(ValueError())["message"] == "the pipeline failed: ValueError: "
    assert len(describe(ValueError("x" * 10_000))["message"]) < 400


def test_out_of_memory_has_a_code_of_its_own() -> None:
    assert describe(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))["code"] == "out_of_memory"


def test_a_device_that_reports_a_fault_is_not_its_jobs_fault() -> None:
    assert isinstance(torch.AcceleratorError("CUDA error: device-side assert triggered", 710), FATAL)
    assert not isinstance(errors.InvariantBroken("a request's own"), FATAL)


def test_images_side_by_side_take_as_long_as_the_longest_and_cost_what_all_cost() -> None:
    attempt = Attempt(running_job())
    for factor in (1.0, 2.0):
        handle = Handle()
        handle.charge(queued_s=factor, denoise_s=3 * factor, decode_s=4 * factor, device_s=5 * factor)
        attempt.join(handle, lambda number, event: None)
    attempt.load_s, attempt.upload_s = 0.5, 0.25
    assert metrics_of(attempt, price_per_hour_usd=7.2) == pytest.approx(
        {
            "queued_s": 3.0 + 2.0,
            "load_s": 0.5,
            "denoise_s": 6.0,
            "decode_s": 8.0,
            "upload_s": 0.25,
            "device_s": 15.0,
            "cost_usd": 0.03,
        }
    )


class Bench:
    """Endings over a real store and storage; `doomed` and `told` are what they say."""

    def __init__(self, store: Store, folder: Path, claimed: Job) -> None:
        self.store, self.storage = store, open_storage(str(folder / "artifacts"))
        self.doomed, self.told = list[BaseException](), list[WorkerEvent]()
        self.giving_up = threading.Event()
        self.attempt = Attempt(claimed)
        self.endings = Endings(
            store,
            self.storage,
            retry_s=1.0,
            price_per_hour_usd=0.0,
            tell=self.told.append,
            doomed=self.doomed.append,
            giving_up=self.giving_up,
        )

    @property
    def job(self) -> Job:
        found = self.store.get(self.attempt.job.id)
        assert found is not None
        return found

    @property
    def status(self) -> str:
        (ended,) = [event for event in self.told if isinstance(event, AttemptEnded)]
        return ended.status


@pytest.fixture
def bench(store: Store, claimed: Job, tmp_path: Path) -> Bench:
    return Bench(store, tmp_path, claimed)


def test_a_passing_fault_schedules_another_attempt(bench: Bench) -> None:
    before = time.time()
    bench.endings.fail(bench.attempt, errors.StorageUnavailable("no disk"))
    assert (bench.job.state, bench.status) == (JobState.SCHEDULED, "retried")
    assert bench.job.run_at is not None
    assert bench.job.run_at > before


def test_a_lasting_fault_fails_the_job(bench: Bench) -> None:
    bench.endings.fail(bench.attempt, errors.NotFinite("NaN"))
    assert (bench.job.state, bench.status) == (JobState.FAILED, "failed")
    assert bench.job.error is not None
    assert bench.job.error["code"] == "not_finite"


def test_a_cancelled_attempt_confirms_it_and_leaves_no_output(bench: Bench) -> None:
    bench.store.cancel("j1", time.time())
    bench.attempt.keys = ["outputs/j1/1-0.png"]
    bench.storage.put(bench.attempt.keys[0], b"half", "image/png")
    bench.attempt.stop(Stop.CANCELLED)
    bench.endings.fail(bench.attempt, errors.JobCancelled("cancelled"))
    assert (bench.job.state, bench.status) == (JobState.CANCELLED, "cancelled")
    assert list(bench.storage.list()) == []


@pytest.mark.parametrize("why", [Stop.HANDED_BACK, Stop.ABANDONED, Stop.LOST])
def test_what_somebody_else_has_decided_is_not_written_again(bench: Bench, why: Stop) -> None:
    bench.attempt.stop(why)
    bench.endings.fail(bench.attempt, errors.JobCancelled("cancelled"))
    assert (bench.job.state, bench.status) == (JobState.RUNNING, why)


def test_a_broken_device_writes_nothing_and_dooms_the_worker(bench: Bench) -> None:
    fault = torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700)
    bench.endings.fail(bench.attempt, fault)
    assert (bench.job.state, bench.status) == (JobState.RUNNING, "abandoned")
    assert bench.doomed == [fault]


def test_an_end_that_can_never_be_written_is_given_up_with_the_worker(bench: Bench) -> None:
    bench.giving_up.set()
    bench.store.close()
    bench.endings.fail(bench.attempt, errors.NotFinite("NaN"))
    assert bench.status == "lost"

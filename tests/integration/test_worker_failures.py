"""A worker when things fail around it: storage, leases, the store, the engine, a model, a thread of its own."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.core import Artifact, JobState, Lease
from darkroom.engine.batcher import Batcher
from darkroom.errors import EngineBroken, InvariantBroken, MissingWeights, StoreUnavailable
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Limits
from darkroom.storage.objects import key_for_output, prefix_for_outputs
from darkroom.worker.events import AttemptBegan, AttemptEnded, BatchRan, LeaseWasLost, StoreFailed, WorkerEvent

from .redis_server import RedisServer
from .workers import LANDSCAPES, PATIENCE_S, Place, place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

LONG = 900  # steps: more than any test waits for


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path, "retry_s = 0.01\nheartbeat_s = 0.1\nlease_s = 30") as made:
        yield made


class Gate:
    """A listener that holds the engine after the first denoising batch of a job, until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened, self._began = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, event: WorkerEvent) -> None:
        if isinstance(event, AttemptBegan):
            self._began.set()
        if isinstance(event, BatchRan) and event.kind == "denoise" and self._began.is_set():
            self.reached.set()
            assert self.opened.wait(PATIENCE_S)


def test_an_attempt_without_storage_is_made_again_after_a_pause(at: Place) -> None:
    artifacts = Path(at.settings.storage_url)
    shutil.rmtree(artifacts)
    artifacts.write_text("a file where the folder was")
    with working(at) as running:
        job_id = at.submit()
        at.until(lambda: bool(running.heard.of(AttemptEnded)))
        assert running.heard.of(AttemptEnded)[0].status == "retried"
        artifacts.unlink()
        artifacts.mkdir()
        (job,) = at.wait(job_id, keep=True)
        assert job.state == JobState.SUCCEEDED
        assert job.attempt > 1
        assert {error["code"] for error in job.errors} == {"storage_unavailable"}


def test_a_job_that_never_finds_storage_fails_after_its_last_attempt(at: Place) -> None:
    artifacts = Path(at.settings.storage_url)
    shutil.rmtree(artifacts)
    artifacts.write_text("a file where the folder was")
    with working(at):
        (job,) = at.wait(at.submit(max_attempts=2), keep=True)
        assert job.state == JobState.FAILED
        assert [error["code"] for error in job.errors] == ["storage_unavailable"] * 2


def test_an_attempt_that_lost_its_lease_writes_nothing(at: Place) -> None:
    gate = Gate()
    with working(at, listeners=(gate,)) as running:
        job_id = at.submit()
        assert gate.reached.wait(PATIENCE_S)
        running.worker._claims.heed_clock(1000.0, 1.0)  # or it may claim the job again at once
        at.store.release_worker("w1", "thought to be dead", time.time())
        (again,) = at.store.claim(Claimant("w2", ("landscapes",)), 1, time.time())
        assert again.id == job_id
        gate.opened.set()
        at.until(lambda: bool(running.heard.of(AttemptEnded)))
        assert running.heard.of(AttemptEnded)[0].status == "lost"
        assert running.heard.of(LeaseWasLost) == [LeaseWasLost(job_id)]
        job = at.job(job_id)
        assert (job.state, job.worker, job.outputs) == (JobState.RUNNING, "w2", ())
        assert list(at.storage.list(prefix_for_outputs(job_id))) == []


def test_outputs_of_a_claim_that_is_too_late_are_removed_and_those_of_the_other_stay(at: Place) -> None:
    with working(at) as running:
        stolen: list[Lease] = []

        def steal(event: WorkerEvent) -> None:  # once the picture is decoded, and before the attempt completes
            if isinstance(event, BatchRan) and event.kind == "decode" and not stolen:
                running.worker._claims.heed_clock(1000.0, 1.0)  # or it may claim the job again at once
                at.store.release_worker("w1", "thought to be dead", time.time())
                (job,) = at.store.claim(Claimant("w2", ("landscapes",)), 1, time.time())
                stolen.append(Lease(job.id, job.fence))

        running.worker._listeners.append(steal)
        job_id = at.submit()
        at.until(lambda: bool(running.heard.of(AttemptEnded)))
        (lease,) = stolen
        key = key_for_output(job_id, lease.fence, 0, ".png")
        at.storage.put(key, b"another's", "image/png")
        at.store.complete(lease, [Artifact("other", "local", key, "image/png", 9, time.time())], {}, time.time())
        assert running.heard.of(AttemptEnded)[0].status == "lost"
        assert list(at.storage.list(prefix_for_outputs(job_id))) == [key]
        assert [output.id for output in at.job(job_id).outputs] == ["other"]


def test_the_engine_goes_on_without_the_store_and_the_job_completes_when_it_is_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        gate = Gate()
        with (
            place(tmp_path / "at", f'store = "{server.url}"\nlease_s = 300') as at,
            working(at, listeners=(gate,)) as running,
        ):
            job_id = at.submit()
            assert gate.reached.wait(PATIENCE_S)
            server.kill()
            gate.opened.set()
            decoded = [event for event in running.heard.of(BatchRan) if event.kind == "decode"]
            at.until(lambda: len([e for e in running.heard.of(BatchRan) if e.kind == "decode"]) > len(decoded))
            at.until(lambda: StoreFailed("writing the end of a job") in running.heard.events)
            server.start()
            at.until(lambda: bool(running.heard.of(AttemptEnded)))
            job = at.job(job_id)
            assert (job.state, job.attempt, job.errors) == (JobState.SUCCEEDED, 1, ())
    finally:
        server.kill()


def test_a_completion_whose_answer_was_lost_is_not_taken_for_a_lost_lease(at: Place) -> None:
    with working(at) as running:
        original = at.store.complete

        def complete(*given: object) -> object:  # the store has done it, and its answer does not arrive
            done = original(*given)  # type: ignore[arg-type]
            at.store.complete = original  # type: ignore[method-assign]
            raise StoreUnavailable(f"{done.id}: the connection broke")

        at.store.complete = complete  # type: ignore[method-assign,assignment]
        (job,) = at.wait(at.submit())
        at.until(lambda: bool(running.heard.of(AttemptEnded)))
        assert running.heard.of(AttemptEnded)[0].status == "succeeded"
        assert at.storage.size(job.outputs[0].key) == job.outputs[0].size


def test_a_worker_whose_engine_breaks_falls_as_if_it_had_died(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    with working(at) as running:
        monkeypatch.setattr(Batcher, "next_batch", break_down)
        job_id = at.submit()
        running.join()
        monkeypatch.undo()
    assert [type(failure) for failure in running.failures] == [EngineBroken]
    assert "a fault of ours" in str(running.failures[0])
    job = at.job(job_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 1)
    assert [error["code"] for error in job.errors] == ["worker_died"]
    assert at.store.workers(0.0) == []


def test_a_worker_that_loses_a_thread_falls(at: Place) -> None:
    def refuse(event: WorkerEvent) -> None:
        if isinstance(event, AttemptBegan):
            raise InvariantBroken("a listener that raises")

    with working(at, listeners=(refuse,)) as running:
        job_id = at.submit()
        running.join()
    assert [str(failure) for failure in running.failures] == ["a listener that raises"]
    assert at.job(job_id).state == JobState.QUEUED


def test_a_worker_that_cannot_load_its_model_does_not_start(at: Place, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LANDSCAPES, tmp_path / "mine", copy_function=os.symlink))
    with place(tmp_path / "there", head=f'[models.mine]\npath = "{folder}"') as there:
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        with pytest.raises(MissingWeights), working(there, "mine"):
            pass


def test_a_model_that_is_gone_fails_its_own_jobs_and_no_others(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(LANDSCAPES, tmp_path / "mine", copy_function=os.symlink))
    with place(tmp_path / "there", head=f'[models.mine]\npath = "{folder}"') as at, working(at):
        (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
        broken, good = at.wait(at.submit(model="mine"), at.submit())
        assert broken.error is not None
        assert broken.error["code"] == "missing_weights"
        assert good.state == JobState.SUCCEEDED


def test_a_store_on_another_handle_sees_the_same(at: Place) -> None:
    other = open_store(at.settings.store_url, Limits())
    try:
        with working(at):
            (job,) = at.wait(at.submit())
            seen = other.get(job.id)
            assert seen is not None
            assert seen.state == JobState.SUCCEEDED
    finally:
        other.close()

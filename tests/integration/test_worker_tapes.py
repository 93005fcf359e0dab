"""Jobs that lose their worker go on from their tapes on another one, with the pixels of an uninterrupted run."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from darkroom.core import Job, JobState
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import prefix_for_outputs
from darkroom.storage.tapes import tapes_of
from darkroom.worker.events import AttemptEnded, AttemptResumed

from .redis_server import RedisServer
from .s3_server import SECRETS, s3_server
from .workers import Place, Running, launched, place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

STEPS = 16
ASKED = {"num_inference_steps": STEPS, "reproducible": True, "seed": 11}


def pixels(at: Place, job: Job) -> list[bytes]:
    assert job.state == JobState.SUCCEEDED, job.errors
    pictures = [Image.open(io.BytesIO(at.storage.get(artifact.key))) for artifact in job.outputs]
    return [np.asarray(picture).tobytes() for picture in pictures]


def stored(at: Place, job: Job) -> set[str]:
    return {key.rpartition("/")[2] for key in at.storage.list(prefix_for_outputs(job.id))}


def reaches(at: Place, job_id: str, step: int) -> None:
    at.until(lambda: at.job(job_id).step >= step or at.job(job_id).is_final)


def handed_back(at: Place, running: Running, **said: object) -> Job:
    """A job that a worker drained away from in its middle."""
    job_id = at.submit(**{**ASKED, **said})
    reaches(at, job_id, 3)
    running.worker.ask_drain()
    running.join()
    assert at.job(job_id).state == JobState.QUEUED
    return at.job(job_id)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[bytes]]:
    with place(tmp_path_factory.mktemp("whole")) as at, working(at):
        (job,) = at.wait(at.submit(**ASKED, num_images_per_prompt=2))
        assert "resumed_from_step" not in job.metrics
        yield pixels(at, job)


def test_a_drained_job_goes_on_where_it_was(tmp_path: Path, uninterrupted: list[bytes]) -> None:
    with place(tmp_path, "drain_s = 0.01\nprice_per_hour_usd = 3600.0") as at:
        with working(at) as first:
            left = handed_back(at, first)
        assert stored(at, left) == {"tape-1-0.safetensors"}
        with working(at, worker_id="w2") as second:
            (job,) = at.wait(left.id)
            (resumed,) = second.heard.of(AttemptResumed)
        (rest,) = second.heard.of(AttemptEnded)
        assert 0 < left.metrics["device_s"] < job.metrics["device_s"]
        for paid in ("device_s", "cost_usd"):
            assert job.metrics[paid] == pytest.approx(left.metrics[paid] + rest.metrics[paid])
        assert 3 <= resumed.step < resumed.steps
        assert job.metrics["resumed_from_step"] == resumed.step
        assert pixels(at, job) == uninterrupted[:1]
        assert stored(at, job) == {job.outputs[0].key.rpartition("/")[2]}


def test_each_image_of_a_job_has_its_tape(tmp_path: Path, uninterrupted: list[bytes]) -> None:
    with place(tmp_path, "drain_s = 0.01") as at:
        with working(at) as first:
            left = handed_back(at, first, num_images_per_prompt=2)
        assert stored(at, left) == {"tape-1-0.safetensors", "tape-1-1.safetensors"}
        with working(at, worker_id="w2"):
            (job,) = at.wait(left.id)
        assert job.metrics["resumed_from_step"] >= 3
        assert pixels(at, job) == uninterrupted
        assert len(stored(at, job)) == 2


def test_a_job_with_adapters_goes_on_where_it_was(tmp_path: Path) -> None:
    with place(tmp_path, "drain_s = 0.01") as at:
        known = catalogue(at.settings).find("landscapes").adapters
        mix = {"neon": 0.8, "woodcut": 0.5}
        said = {"adapters": mix, "adapter_digests": {name: known[name].facts().digest for name in mix}}
        with working(at) as first:
            left = handed_back(at, first, **said)
        with working(at, worker_id="w2"):
            whole, job = at.wait(at.submit(**ASKED, **said), left.id)
        assert job.metrics["resumed_from_step"] >= 3
        assert pixels(at, job) == pixels(at, whole)


def test_a_job_goes_on_over_redis_and_an_object_store(
    tmp_path: Path, uninterrupted: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    redis = RedisServer(tmp_path)
    with contextlib.ExitStack() as opened:
        opened.callback(redis.kill)
        address = opened.enter_context(s3_server())
        storage = f"s3://darkroom/tapes?endpoint={address}&region=us-east-1"
        with place(tmp_path, f'drain_s = 0.01\nstore = "{redis.url}"\nstorage = "{storage}"') as at:
            with working(at) as first:
                left = handed_back(at, first)
            assert [number for _, number in tapes_of(at.storage, left.id).values()] == [0]
            with working(at, worker_id="w2"):
                (job,) = at.wait(left.id)
            assert job.metrics["resumed_from_step"] >= 3
            assert pixels(at, job) == uninterrupted[:1]
            assert stored(at, job) == {job.outputs[0].key.rpartition("/")[2]}


def test_a_job_whose_worker_was_killed_goes_on_from_its_last_tape(tmp_path: Path, uninterrupted: list[bytes]) -> None:
    with place(tmp_path, "tape_every = 1") as at:
        with launched(at, "w1") as first:
            job_id = at.submit(**ASKED)
            reaches(at, job_id, 6)
            first.kill()
        reached = at.job(job_id).step
        assert at.store.rescue(time.time() + at.settings.serve.lease_s) == [job_id]
        with launched(at, "w2"):
            (job,) = at.wait(job_id)
        assert job.metrics["resumed_from_step"] >= reached - 1
        assert pixels(at, job) == uninterrupted[:1]
        assert stored(at, job) == {job.outputs[0].key.rpartition("/")[2]}


@pytest.mark.parametrize("spoil", ["cut off", "of another seed", "refused on the way"])
def test_a_tape_that_cannot_be_used_costs_its_steps_and_no_more(
    tmp_path: Path, spoil: str, uninterrupted: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with place(tmp_path, "drain_s = 0.01") as at:
        with working(at) as first:
            left = handed_back(at, first, **({"seed": 12} if spoil == "of another seed" else {}))
        (key,) = tapes_of(at.storage, left.id)
        data = at.storage.get(key)
        if spoil == "of another seed":
            left = at.job(at.submit(**ASKED))
            with working(at, worker_id="w2") as second:
                reaches(at, left.id, 1)
                second.worker.ask_drain()
                second.join()
            (key,) = tapes_of(at.storage, left.id)
        at.storage.put(key, spoiled(data, spoil), "application/octet-stream")
        with caplog.at_level(logging.WARNING), working(at, "landscapes", worker_id="w3") as third:
            (job,) = at.wait(left.id)
            resumed = [event.job_id for event in third.heard.of(AttemptResumed)]  # the other seed's job is there too
        assert (left.id in resumed) == (spoil == "refused on the way")
        assert "starts over" in caplog.text
        assert "resumed_from_step" not in job.metrics
        assert (len(job.errors), pixels(at, job)) == (0, uninterrupted[:1])
        assert len(stored(at, job)) == 1


def spoiled(data: bytes, how: str) -> bytes:
    if how != "refused on the way":
        return data[:-1] if how == "cut off" else data
    from dataclasses import replace

    from darkroom.engine import tape_file

    tape = tape_file.load(data)
    first, *rest = tape.entries
    return tape_file.dump(replace(tape, entries=(replace(first, digest=b"other"), *rest)), with_arguments=False)


def test_a_tape_that_cannot_be_stored_fails_no_job(tmp_path: Path, uninterrupted: list[bytes]) -> None:
    with place(tmp_path, "tape_every = 1") as at, working(at):
        folder = Path(at.settings.storage_url) / prefix_for_outputs("job-1")
        (folder / "tape-1-0.safetensors" / "in the way").mkdir(parents=True)
        (job,) = at.wait(at.submit(**ASKED))
        assert pixels(at, job) == uninterrupted[:1]

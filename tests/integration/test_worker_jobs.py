"""A worker over a real store and storage, with the model that ships: what becomes of jobs."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from darkroom import __version__
from darkroom.core import Artifact, Job, JobState
from darkroom.engine.engine import Engine, Tick
from darkroom.models.catalogue import catalogue
from darkroom.models.device import fix_threads
from darkroom.models.device import place as place_model
from darkroom.models.loading import load
from darkroom.models.offer import BUNDLED_ROWS, TEXT_TO_IMAGE
from darkroom.models.tasks import pipeline_for
from darkroom.worker.events import AttemptBegan, AttemptEnded, BatchRan, StopAsked, WorkerEvent
from tests.unit.worker.jobs import QUICK

from .workers import PATIENCE_S, Place, Running, place, working

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # the libraries' own, at loading


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    said = "preview_every = 1\nprice_per_hour_usd = 3.6\nretry_s = 0.01\nheartbeat_s = 0.2"
    with place(tmp_path_factory.mktemp("worker"), said) as made:
        yield made


class ThreadCounts:
    """torch's threads at each forward, as the engine's own thread has them."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def __call__(self, event: WorkerEvent) -> None:
        if isinstance(event, BatchRan):
            self.seen.add(torch.get_num_threads())


@pytest.fixture(scope="module")
def thread_counts() -> ThreadCounts:
    return ThreadCounts()


@pytest.fixture(scope="module")
def running(at: Place, thread_counts: ThreadCounts) -> Iterator[Running]:
    with working(at, listeners=(thread_counts,)) as made:
        yield made


def picture_of(at: Place, artifact: Artifact) -> Image.Image:
    image = Image.open(io.BytesIO(at.storage.get(artifact.key)))
    image.load()
    return image


def pixels(at: Place, job: Job, number: int = 0) -> str:
    return hashlib.sha256(picture_of(at, job.outputs[number]).tobytes()).hexdigest()


def png(side: int = 192, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_job_becomes_a_stored_picture_with_its_settings(at: Place, running: Running) -> None:
    (job,) = at.wait(at.submit(seed=11))
    assert job.state == JobState.SUCCEEDED
    (output,) = job.outputs
    assert (output.width, output.height, output.seed, output.content_type) == (192, 192, 11, "image/png")
    picture = picture_of(at, output)
    assert picture.size == (192, 192)
    assert len(at.storage.get(output.key)) == output.size
    said = json.loads(picture.text["darkroom"])  # type: ignore[attr-defined]
    assert said["input"]["seed"] == 11
    assert said["input"]["num_inference_steps"] == 2
    assert said["model"] == "landscapes"
    assert said["reproducible"] is False


def test_a_picture_carries_the_conditions_that_it_was_made_under(
    at: Place, running: Running, thread_counts: ThreadCounts
) -> None:
    (job,) = at.wait(at.submit(reproducible=True))
    said = json.loads(picture_of(at, job.outputs[0]).text["darkroom"])  # type: ignore[attr-defined]
    here, threads = place_model(), fix_threads(at.settings.threads, BUNDLED_ROWS)
    assert said["revision"] == catalogue(at.settings).find("landscapes").revision()
    assert (said["device"], said["device_name"], said["dtype"]) == (here.kind, here.name, here.dtype)
    assert said["fixed_rows"] == BUNDLED_ROWS
    assert said["threads"] == threads
    assert thread_counts.seen == {threads}
    libraries = {name: version(name) for name in ("torch", "diffusers", "transformers")}
    assert said["versions"] == {"darkroom": __version__, **libraries}
    assert "reproducible" not in said


def test_events_tell_each_step_and_a_preview(at: Place, running: Running) -> None:
    job_id = at.submit(num_inference_steps=6)
    at.wait(job_id)
    events = at.store.events(job_id, 0)
    kinds = [event.type for event in events]
    assert kinds[0] == "queued"
    assert kinds[-1] == "succeeded"
    assert "started" in kinds
    steps = [event.data["step"] for event in events if event.type == "progress"]
    assert steps == sorted(set(steps))
    previews = [event.data["image"] for event in events if event.type == "preview"]
    assert all(image.startswith("data:image/jpeg;base64,") for image in previews)
    assert steps or previews  # only the latest of each is kept, and a store may be slower than six steps


def test_metrics_say_where_the_time_went_and_what_it_cost(at: Place, running: Running) -> None:
    (job,) = at.wait(at.submit())
    said = job.metrics
    assert set(said) == {"queued_s", "load_s", "denoise_s", "decode_s", "upload_s", "device_s", "cost_usd"}
    assert min(said["denoise_s"], said["decode_s"], said["upload_s"], said["device_s"]) > 0
    assert said["cost_usd"] == pytest.approx(said["device_s"] * 3.6 / 3600)


def test_several_images_have_a_seed_each_and_one_progress(at: Place, running: Running) -> None:
    (job,) = at.wait(at.submit(seed=20, num_images_per_prompt=3))
    assert [output.seed for output in job.outputs] == [20, 21, 22]
    assert len({pixels(at, job, number) for number in range(3)}) == 3
    assert len({output.key for output in job.outputs}) == 3
    (ended,) = [event for event in running.heard.of(AttemptEnded) if event.job_id == job.id]
    assert ended.steps == 2


def test_a_reproducible_job_has_the_same_pixels_in_company_as_from_the_engine_alone(
    at: Place, running: Running
) -> None:
    ids = at.submit_all([{"reproducible": True, "seed": 30}, *({"seed": 40 + k} for k in range(5))])
    job = at.wait(*ids)[0]
    again = at.wait(at.submit(reproducible=True, seed=30))[0]
    loaded = load(catalogue(at.settings).find("landscapes"), is_offline=True)
    pipe = pipeline_for(loaded.pipe, TEXT_TO_IMAGE, QUICK["solver"], "landscapes")  # type: ignore[arg-type]
    with Engine(pipe, reproducible=True, fixed_rows=loaded.offer().fixed_rows) as engine:
        call: dict[str, Any] = {name: value for name, value in QUICK.items() if name != "solver"}
        alone = engine.submit(prompt="a red barn", seed=30, **call).result(PATIENCE_S).images[0]
    assert pixels(at, job) == pixels(at, again) == hashlib.sha256(alone.tobytes()).hexdigest()


def test_image_k_of_a_reproducible_job_can_be_made_again_alone(at: Place, running: Running) -> None:
    (several,) = at.wait(at.submit(reproducible=True, seed=50, num_images_per_prompt=2))
    (alone,) = at.wait(at.submit(reproducible=True, seed=51))
    assert pixels(at, several, 1) == pixels(at, alone)


def test_a_job_starts_from_an_uploaded_picture(at: Place, running: Running) -> None:
    image, mask = at.upload("an-image", png()), at.upload("a-mask", png(mode="L"))
    made = at.wait(
        at.submit(task="image-to-image", image=image, strength=1.0),
        at.submit(task="inpaint", image=image, mask_image=mask, strength=1.0),
    )
    assert [job.state for job in made] == [JobState.SUCCEEDED, JobState.SUCCEEDED], [job.errors for job in made]
    assert pixels(at, made[0]) != pixels(at, made[1])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"width": 200}, "size_not_offered"),
        ({"task": "image-to-image", "image": "nowhere"}, "not_found"),
        ({"solver": "no such"}, "unknown_solver"),
    ],
)
def test_a_request_that_cannot_be_made_fails_once_and_by_name(
    at: Place, running: Running, said: dict[str, Any], code: str
) -> None:
    (job,) = at.wait(at.submit(**said))
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert (job.error["code"], len(job.errors), job.attempt) == (code, 1, 1)
    assert job.outputs == ()


def test_a_deadline_that_passes_on_the_way_ends_the_job(at: Place, running: Running) -> None:
    (job,) = at.wait(at.submit(num_inference_steps=900, deadline_at=time.time() + 1.0), keep=True)
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "deadline_exceeded"
    assert job.step < 900


def test_a_cancelled_job_takes_part_in_one_more_batch_at_most(tmp_path: Path) -> None:
    batches, began, stopped = list[BatchRan](), threading.Event(), threading.Event()
    with place(tmp_path) as at:

        def listen(event: WorkerEvent) -> None:
            if isinstance(event, AttemptBegan):
                began.set()
            if isinstance(event, StopAsked):
                stopped.set()
            if isinstance(event, BatchRan) and event.kind == "denoise" and began.is_set():
                batches.append(event)
                if len(batches) == 3:  # in the engine's thread: no batch runs until the worker has heard of it
                    at.store.cancel("job-1", time.time())
                    assert stopped.wait(PATIENCE_S)

        with working(at, listeners=(listen,)) as running:
            (job,) = at.wait(at.submit(num_inference_steps=500))
            assert job.state == JobState.CANCELLED
            assert len(batches) <= 4
            (ended,) = running.heard.of(AttemptEnded)
            assert ended.status == "cancelled"
            assert job.outputs == ()
            assert job.metrics["device_s"] > 0


def test_a_job_joins_a_long_one_whose_forwards_have_free_rows(tmp_path: Path) -> None:
    at_once: list[int] = []
    with place(tmp_path, "claim_ahead_s = 0.01") as at, working(at) as running:

        def listen_in(event: WorkerEvent) -> None:
            if isinstance(event, BatchRan) and event.kind == "denoise":
                at_once.append(event.rows)

        running.worker._listeners.append(listen_in)
        first = at.submit(num_inference_steps=1000)
        at.until(lambda: at.job(first).step > 2)
        second = at.submit(num_inference_steps=1000)
        at.until(lambda: at.job(second).state == JobState.RUNNING)
        at.until(lambda: 4 in at_once)
        assert at.job(first).state == JobState.RUNNING
        at.store.cancel(first, time.time())
        at.store.cancel(second, time.time())
        at.wait(first, second)


def test_reports_tell_which_jobs_shared_a_batch_while_somebody_looks(at: Place, running: Running) -> None:
    at.wait(at.submit())
    assert not any("ticks" in report.facts for report in at.store.workers(0))
    at.store.watch(time.time() + 600)
    at.until(lambda: running.worker._ticks.is_watched)
    jobs = at.submit_all([{"num_inference_steps": 12}, {"num_inference_steps": 15}])
    shared: list[dict[str, Any]] = []

    def is_told() -> bool:
        ticks = [tick for report in at.store.workers(0) for tick in report.facts.get("ticks", [])]
        shared[:] = [tick for tick in ticks if {job_id for job_id, _ in tick["jobs"]} == set(jobs)]
        return bool(shared)

    at.until(is_told)
    assert {tick["kind"] for tick in shared} <= {"encode", "denoise", "decode"}
    assert all(sum(rows for _, rows in tick["jobs"]) == tick["rows"] > 0 for tick in shared)
    at.wait(*jobs)
    at.store.watch(0.0)
    at.until(lambda: not running.worker._ticks.is_watched)


def test_steps_bring_no_heartbeats_where_nobody_looks(at: Place, running: Running) -> None:
    beats = running.worker._heartbeat
    beats._is_outdated = False
    running.worker._ticked(Tick(time.time(), "unet", "denoise", 1, 0, 0, 0.1, ()))
    assert not beats._is_outdated
    running.worker._ticks.is_watched = True
    running.worker._ticked(Tick(time.time(), "unet", "denoise", 1, 0, 0, 0.1, ()))
    assert beats._is_outdated

"""The Python client against a real gateway, over both of its faces; the test plays the worker."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom import AsyncClient, Client, errors
from darkroom.client.nouns import Job, JobEvent
from darkroom.core import Event
from darkroom.jobs.store import JobFilter
from tests.lora_files import lora

from .faces import FACES, Open, opening
from .gateway_site import Site, events_of, open_site, picture, wait_until

INPUT = {"num_inference_steps": 4, "seed": 7}
PROMPT = "night, full moon over a lake"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        site.report()
        yield site


@pytest.fixture(params=FACES)
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    with opening(request.param) as opened:
        yield opened


@pytest.fixture
def client(opened: Open, site: Site) -> Client:
    return opened(site.url, retries=2)


def play(site: Site, steps: int = 4) -> str:
    """Run the next job to its end, as a worker does; its id."""
    job, lease = site.claim()
    for step in range(1, steps + 1):
        site.step(lease, step, steps)
    site.complete(lease)
    return job.id


@contextmanager
def working(site: Site, act: Callable[[Site], Any] = play) -> Iterator[None]:
    """A worker that takes the next job as soon as there is one."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(_when_there_is_one, site, act)
        yield
        done.result(60)


def _when_there_is_one(site: Site, act: Callable[[Site], Any]) -> None:
    wait_until(lambda: bool(site.store.list_jobs(JobFilter(state="queued")).jobs))  # type: ignore[arg-type]
    act(site)


def test_a_job_comes_back_as_it_was_submitted(client: Client, site: Site) -> None:
    job = client.submit(
        PROMPT, priority=3, metadata={"album": "sea"}, output={"format": "webp", "quality": 80}, **INPUT
    )
    assert isinstance(job, Job)
    assert (job.state, job.model, job.priority, job.metadata) == ("queued", "landscapes", 3, {"album": "sea"})
    assert job.input["prompt"] == PROMPT
    assert (job.input["num_inference_steps"], job.input["seed"], job.output["format"]) == (4, 7, "webp")
    assert job.created_at is not None
    assert abs(job.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert job.raw["links"]["self"] == f"{site.url}/v1/jobs/{job.id}"
    again = client.get(job)
    assert (again.id, again.input) == (job.id, job.input)
    assert client.cancel(job).state == "cancelled"


def test_generate_is_submit_wait_and_download(client: Client, site: Site) -> None:
    heard: list[JobEvent] = []
    with working(site):
        images = client.generate(PROMPT, timeout_s=60, on_progress=heard.append, **INPUT)
    assert [Image.open(io.BytesIO(image)).size for image in images] == [(256, 256)]
    assert [event.data["step"] for event in heard] == [1, 2, 3, 4]


def test_waiting_takes_no_longer_than_it_may_and_leaves_the_job(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, **INPUT)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=job.id):
        client.wait(job, timeout_s=0.5)
    assert 0.5 <= time.monotonic() - began < 1.5
    assert client.get(job).state == "queued"
    client.cancel(job)


def test_events_that_come_while_it_waits_do_not_move_the_end(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, **INPUT)
    _, lease = site.claim()
    stop = threading.Event()

    def tick() -> None:
        for step in range(1, 1000):
            site.step(lease, step, 1000)
            if stop.wait(0.05):
                return

    with ThreadPoolExecutor(1) as pool:
        ticking = pool.submit(tick)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.wait(job.id, timeout_s=1.0)
        assert 1.0 <= time.monotonic() - began < 2.0
        stop.set()
        ticking.result()
    site.complete(lease)
    assert client.wait(job).state == "succeeded"


def test_what_ended_a_job_is_raised_by_its_code(client: Client, site: Site) -> None:
    def fail(site: Site) -> None:
        _, lease = site.claim()
        said = {"code": "not_finite", "message": "the picture would be black"}
        site.store.fail(lease, said, {}, time.time(), None)

    with working(site, fail), pytest.raises(errors.NotFinite, match="would be black") as caught:
        client.generate(PROMPT, timeout_s=60, **INPUT)
    assert caught.value.request_id

    job = client.submit(PROMPT, **INPUT)
    client.cancel(job)
    with pytest.raises(errors.JobCancelled):
        client.wait(job).raise_for_state()


def test_events_are_those_of_the_service(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, **INPUT)
    assert play(site) == job.id
    heard = list(client.events(job))
    with site.http.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        told = events_of(answer.iter_lines())
    assert [(event.seq, event.at, event.type) for event in heard] == [(e["seq"], e["at"], e["type"]) for e in told]
    assert heard[-1].is_final
    assert [event.data["step"] for event in heard if event.type == "progress"] == [1, 2, 3, 4]
    middle = heard[len(heard) // 2].seq
    assert [event.seq for event in client.events(job.id, after=middle)] == [e.seq for e in heard if e.seq > middle]
    assert list(client.events(job, after=heard[-1].seq)) == []


def test_whoever_stops_listening_lets_the_stream_go(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, **INPUT)
    events = client.events(job)
    assert next(events).type == "queued"
    events.close()  # type: ignore[attr-defined]
    wait_until(lambda: site.gateway.feed._count == 0)
    client.cancel(job)


def test_all_pages_of_the_list_come_one_after_another(opened: Open, tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        client = opened(site.url)
        ids = [client.submit(PROMPT, **INPUT).id for _ in range(5)]
        client.cancel(ids[0])
        page = client.page(limit=2)
        assert [job.id for job in page.jobs] == [ids[4], ids[3]]
        assert [job.id for job in client.page(page.next_cursor, limit=2).jobs] == [ids[2], ids[1]]
        assert [job.id for job in client.jobs()] == ids[::-1]
        assert [job.id for job in client.jobs(state="queued", model="landscapes")] == ids[:0:-1]


def test_pages_are_asked_for_as_they_are_come_to(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.client.talk.PAGE", 2)
    with open_site(tmp_path) as site:
        client = opened(site.url)
        ids = [client.submit(PROMPT, **INPUT).id for _ in range(5)]
        assert [job.id for job in client.jobs()] == ids[::-1]


def test_priority_can_be_changed_until_it_starts(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, **INPUT)
    assert client.set_priority(job, 9).priority == 9
    play(site)
    with pytest.raises(errors.Conflict):
        client.set_priority(job, 1)


def test_a_deleted_job_is_gone(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, **INPUT)
    client.delete(job)
    with pytest.raises(errors.NotFound) as caught:
        client.get(job)
    assert caught.value.field == "job_id"
    assert caught.value.request_id


def test_deleting_waits_until_the_worker_has_stopped(
    client: Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.gateway.desk.REMOVE_WAIT_S", 0.1)
    job = client.submit(PROMPT, **INPUT)
    _, lease = site.claim()
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(client.delete, job)
        wait_until(lambda: site.store.get(job.id).is_cancelling)  # type: ignore[union-attr]
        time.sleep(0.3)
        assert not deleting.done()
        site.store.release([lease], "stopped", time.time())
        deleting.result(30)
    with pytest.raises(errors.NotFound):
        client.get(job)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "image"])
def test_a_picture_can_be_uploaded_from_wherever_it_is(client: Client, site: Site, tmp_path: Path, kind: str) -> None:
    data = picture(64, 32)
    path = tmp_path / "bay.png"
    path.write_bytes(data)
    given = {"path": path, "text": str(path), "bytes": data, "image": Image.open(io.BytesIO(data))}[kind]
    stored = client.download(client.upload(given))
    assert Image.open(io.BytesIO(stored)).size == (64, 32)


def test_a_picture_in_a_job_is_uploaded_with_it(client: Client, site: Site) -> None:
    job = client.submit(PROMPT, image=picture(), strength=0.5, **INPUT)
    assert job.task == "image-to-image"
    by_id = client.submit(PROMPT, image=job.input["image"], strength=0.5, **INPUT)
    assert by_id.input["image"] == job.input["image"]
    for each in (job, by_id):
        client.cancel(each)


def test_a_download_goes_to_a_file_whole(client: Client, site: Site, tmp_path: Path) -> None:
    job = client.submit(PROMPT, **INPUT)
    play(site)
    [output] = client.wait(job).outputs
    data = client.download(output, to=tmp_path / "moon.png")
    assert (tmp_path / "moon.png").read_bytes() == data
    assert Image.open(io.BytesIO(data)).size == (output.width, output.height)
    with pytest.raises(errors.OutputNotWritable):
        client.download(output, to=tmp_path / "nowhere" / "moon.png")


def test_models_and_workers_are_told_of(client: Client, site: Site) -> None:
    site.report()
    [model] = client.models()
    assert (model.id, model.is_loaded, model.problem, model.input) == ("landscapes", True, None, None)
    whole = client.model("landscapes")
    assert whole.default_size in whole.sizes
    assert whole.input is not None
    assert whole.input["required"] == ["prompt"]
    [worker] = client.workers()
    assert (worker.id, worker.state, worker.models) == ("worker-a", "ready", ("landscapes",))
    client.drain(worker)
    with pytest.raises(errors.NotFound):
        client.drain("nobody")


@pytest.mark.parametrize(
    ("wish", "kind", "field"),
    [
        ({"num_inference_steps": 0}, errors.BadInput, "num_inference_steps"),
        ({"solver": "none"}, errors.UnknownSolver, "solver"),
        ({"preset": "none"}, errors.UnknownPreset, "preset"),
        ({"width": 10, "height": 10}, errors.SizeNotOffered, "width"),
        ({"model": "nobody"}, errors.UnknownModel, "model"),
        ({"colour": "red"}, errors.UnknownArgument, "colour"),
        ({"image": b"no picture"}, errors.UnreadableImage, None),
        ({"adapters": {"x": 1.0}}, errors.UnknownAdapter, "adapters"),
    ],
)
def test_a_refusal_is_the_named_error(
    client: Client, wish: dict[str, Any], kind: type[errors.DarkroomError], field: str | None
) -> None:
    with pytest.raises(errors.DarkroomError) as caught:
        client.submit(PROMPT, **wish)
    assert type(caught.value) is kind
    assert field is None or caught.value.field == field
    assert caught.value.message
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"idempotency_key": "a key"}, "idempotency_key"),
        ({"idempotency_key": "é"}, "idempotency_key"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),
        ({"image": Path("/nowhere.png")}, "image"),
        ({"image": 7}, "image"),
        ({"metadata": {"a": {1, 2}}}, "input"),
        ({"guidance_scale": float("nan")}, "input"),
    ],
)
def test_what_cannot_be_sent_is_refused_here(client: Client, wish: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        client.submit(PROMPT, **wish)
    assert caught.value.field == field


@pytest.mark.parametrize("job_id", ["", "..", "a/b", "a?b", "a b"])
def test_what_is_no_id_is_refused_here(client: Client, job_id: str) -> None:
    for ask in (client.get, client.cancel, client.delete, client.wait):
        with pytest.raises(errors.BadInput) as caught:
            ask(job_id)
        assert caught.value.field == "job_id"


def test_a_job_can_be_for_later(client: Client) -> None:
    moment = datetime.now(UTC) + timedelta(hours=1)
    job = client.submit(PROMPT, run_at=moment, **INPUT)
    assert job.state == "scheduled"
    assert job.run_at is not None
    assert abs(job.run_at - moment) < timedelta(milliseconds=2)
    client.cancel(job)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"url": "ftp://there"}, "url"),
        ({"url": "http://"}, "url"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"retries": -1}, "retries"),
    ],
)
def test_a_client_that_cannot_be_is_refused(opened: Open, said: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.BadInput) as caught:
        opened(**said)
    assert caught.value.field == field


def test_where_and_who_come_from_the_environment(opened: Open, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_URL", f"{site.url}/")
    assert opened().url == site.url
    assert opened().models()[0].id == "landscapes"
    monkeypatch.setenv("DARKROOM_URL", "nowhere")
    with pytest.raises(errors.InvalidConfig) as caught:
        opened()
    assert caught.value.field == "DARKROOM_URL"


def test_a_client_closes_with_its_block(site: Site) -> None:
    import asyncio

    with Client(site.url) as client:
        assert client.models()

    async def talk() -> None:
        async with AsyncClient(site.url) as client:
            assert await client.models()

            told: list[str] = []

            async def listen(event: JobEvent) -> None:
                await asyncio.sleep(0)
                told.append(event.type)

            job = await client.submit(PROMPT, **INPUT)
            await asyncio.to_thread(play, site)
            await client.wait(job, on_progress=listen)
            assert told == ["progress"] * 4

    asyncio.run(talk())


def test_both_faces_have_the_same_methods_with_the_same_arguments() -> None:
    import inspect

    def shape(face: type) -> dict[str, list[tuple[str, Any]]]:
        methods = {n: m for n, m in vars(face).items() if inspect.isfunction(m) and not n.startswith("_")}
        named = {n.replace("aclose", "close"): inspect.signature(m) for n, m in methods.items()}
        return {n: [(p.name, p.default) for p in signature.parameters.values()] for n, signature in named.items()}

    assert shape(Client) == shape(AsyncClient)


def test_event_types_are_known(site: Site) -> None:
    assert JobEvent.__doc__ is not None
    assert Event.__doc__ is not None
    for name in ("queued", "started", "progress", "preview", "output", "requeued", "succeeded", "failed", "cancelled"):
        assert name in JobEvent.__doc__
        assert name in Event.__doc__


def test_adapters_are_registered_listed_and_removed(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "ink.safetensors"
    file.write_bytes(lora(1))
    made = client.add_adapter("ink", file, model="landscapes")
    assert (made.name, made.model, made.source, made.size) == ("ink", "landscapes", "registered", len(lora(1)))
    assert made.digest == hashlib.sha256(lora(1)).hexdigest()
    assert made in client.adapters()
    assert {"neon", "woodcut"} <= {adapter.name for adapter in client.adapters() if adapter.source == "bundled"}
    assert client.add_adapter("ink", lora(1)) == made
    with pytest.raises(errors.Conflict):
        client.add_adapter("ink", lora(2))
    client.remove_adapter(made)
    assert "ink" not in {adapter.name for adapter in client.adapters()}
    with pytest.raises(errors.NotFound):
        client.remove_adapter("ink")
    with pytest.raises(errors.BadInput, match="cannot be read") as caught:
        client.add_adapter("ink", tmp_path / "nowhere")
    assert caught.value.field == "file"

"""OpenAI's Images API: what a call asks of the worker, what its answer and its stream hold. The test is the worker."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from darkroom.core import Lease

from ..lora_files import lora, put
from .gateway_site import Site, open_site, picture, wait_until
from .openai_site import PREVIEW, client_of, next_job, worker

PROMPT = "a lake at night"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("house")
    files = {name: put(home / f"{name}.safetensors", lora(seed)) for seed, name in enumerate(("ink", "chalk"))}
    with open_site(home, adapters=files) as found:
        yield found


@pytest.fixture(scope="module")
def client(site: Site) -> openai.OpenAI:
    return client_of(site)


def test_the_package_lists_models_and_retrieves_one(client: openai.OpenAI) -> None:
    assert [(model.id, model.object, model.owned_by) for model in client.models.list()] == [
        ("landscapes", "model", "darkroom")
    ]
    assert client.models.retrieve("landscapes").created > 0
    with pytest.raises(openai.NotFoundError, match="there is no model 'dall-e-3'; allowed: landscapes"):
        client.models.retrieve("dall-e-3")


def test_an_answer_has_the_picture_and_what_the_package_reads(site: Site, client: openai.OpenAI) -> None:
    with worker(site):
        said = client.images.generate(prompt=PROMPT, quality="low", size="192x192")
    assert said.data is not None
    assert said.usage is not None
    assert Image.open(io.BytesIO(base64.b64decode(said.data[0].b64_json or ""))).size == (256, 256)
    assert (said.data[0].url, said.output_format, said.quality, said.size) == (None, "png", "low", "192x192")
    assert (said.background, said.model_dump()["warnings"]) == ("opaque", [])
    assert said.usage.input_tokens == said.usage.total_tokens > len(PROMPT.split())
    assert abs(said.created - site.parts.clock()) < 60


def test_a_url_can_be_fetched_as_it_stands(site: Site, client: openai.OpenAI) -> None:
    with worker(site):
        said = client.images.generate(prompt=PROMPT, response_format="url")
    assert said.data is not None
    answer = httpx.get(said.data[0].url or "")
    assert (answer.status_code, answer.headers["content-type"], answer.content[:4]) == (200, "image/png", b"\x89PNG")


QUALITY_STEPS = {"low": 10, "medium": 30, "high": 30, "standard": 30, "hd": 30, "auto": 30}


@pytest.mark.parametrize("quality", QUALITY_STEPS)
def test_quality_is_a_preset(site: Site, client: openai.OpenAI, quality: Any) -> None:
    with worker(site) as taken:
        client.images.generate(prompt=PROMPT, quality=quality)
    assert taken[0].input["num_inference_steps"] == QUALITY_STEPS[quality]


CALLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"prompt": PROMPT, "width": 256, "height": 256, "num_images_per_prompt": 1}),
    ({"n": 3, "size": "320x192"}, {"num_images_per_prompt": 3, "width": 320, "height": 192}),
    ({"size": "auto"}, {"width": 256}),
    ({"extra_body": {"steps": 3, "cfg_scale": 2, "sampler": "euler", "seed": 7}},
     {"num_inference_steps": 3, "guidance_scale": 2.0, "solver": "euler", "seed": 7}),
    ({"extra_body": {"num_inference_steps": 3, "guidance_scale": 2.5, "scheduler": "ddim", "negative_prompt": "fog"}},
     {"num_inference_steps": 3, "guidance_scale": 2.5, "solver": "ddim", "negative_prompt": "fog"}),
    ({"quality": "low", "extra_body": {"steps": 5, "num_inference_steps": 5}}, {"num_inference_steps": 5}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "wanted"), CALLS)
def test_a_call_asks_the_worker_for_what_it_means(
    site: Site, client: openai.OpenAI, asked: dict[str, Any], wanted: dict[str, Any]
) -> None:
    with worker(site) as taken:
        client.images.generate(prompt=PROMPT, **asked)
    [job] = taken
    assert job.model == "landscapes"
    assert {name: job.input[name] for name in wanted} == wanted


LORAS: list[tuple[Any, dict[str, float]]] = [
    ("ink", {"ink": 1.0}),
    ({"ink": 0.8, "chalk": -1}, {"ink": 0.8, "chalk": -1.0}),
    (["ink", {"chalk": 0.5}], {"ink": 1.0, "chalk": 0.5}),
]


@pytest.mark.parametrize(("said", "wanted"), LORAS)
def test_lora_is_the_same_as_adapters(site: Site, client: openai.OpenAI, said: Any, wanted: dict[str, float]) -> None:
    with worker(site) as taken:
        asked = [{"lora": said}, {"adapters": wanted}, {"lora": said, "adapters": wanted}]
        warned = [client.images.generate(prompt=PROMPT, extra_body=each).model_dump()["warnings"] for each in asked]
    assert [job.input["adapters"] for job in taken] == [wanted] * 3
    assert warned == [[]] * 3


@pytest.mark.parametrize(("said", "wanted"), LORAS)
def test_in_a_form_lora_is_a_name_or_json(site: Site, said: Any, wanted: dict[str, float]) -> None:
    form = {"prompt": PROMPT, "lora": said if isinstance(said, str) else json.dumps(said)}
    with worker(site) as taken:
        answer = site.http.post("/v1/images/edits", data=form, files={"image": ("a.png", picture(), "image/png")})
    assert answer.status_code == 200, answer.text
    assert taken[0].input["adapters"] == wanted


def test_no_lora_is_none(site: Site, client: openai.OpenAI) -> None:
    with worker(site) as taken:
        for said in ("", [], {}, None):
            client.images.generate(prompt=PROMPT, extra_body={"lora": said})
    assert all("adapters" not in job.input for job in taken)
    assert len(taken) == 4


FORMATS: list[tuple[dict[str, Any], tuple[str, int | None]]] = [
    ({}, ("png", None)),
    ({"output_format": "jpeg"}, ("jpeg", None)),
    ({"output_format": "webp", "output_compression": 40}, ("webp", 40)),
    ({"output_format": "jpeg", "output_compression": 0}, ("jpeg", 1)),
    ({"output_format": "png", "output_compression": 40}, ("png", None)),
]


@pytest.mark.parametrize(("asked", "wanted"), FORMATS)
def test_the_output_is_as_asked(
    site: Site, client: openai.OpenAI, asked: dict[str, Any], wanted: tuple[str, int | None]
) -> None:
    with worker(site) as taken:
        said = client.images.generate(prompt=PROMPT, **asked)
    assert (taken[0].output["format"], taken[0].output["quality"]) == wanted
    assert said.output_format == wanted[0]


def test_what_is_ignored_is_named_and_who_asks_is_kept(site: Site, client: openai.OpenAI) -> None:
    extra = {"clip_skip": 2, "odd": None}
    with worker(site) as taken:
        said = client.images.generate(
            prompt=PROMPT, style="vivid", background="transparent", moderation="low", user="ann", extra_body=extra,
            output_compression=50,
        )  # fmt: skip
    warnings = said.model_dump()["warnings"]
    for name in ("style", "background", "moderation", "clip_skip", "output_compression"):
        assert any(re.match(rf"{name} was ignored", warning) for warning in warnings), name
    assert len(warnings) == 5
    assert taken[0].metadata == {"user": "ann"}


def test_what_the_model_will_not_see_of_a_prompt_is_quoted(site: Site, client: openai.OpenAI) -> None:
    with worker(site):
        said = client.images.generate(prompt=f"{'a lake ' * 60} with a heron")
    assert "with a heron" in said.model_dump()["warnings"][0]


# --- edits and variations -----------------------------------------------------------------------------------------


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def with_a_hole(mode: str = "RGBA") -> bytes:
    """A picture with a transparent square, half transparent at its left."""
    image = Image.new("RGBA", (256, 256), (0, 128, 128, 255))
    image.paste((0, 0, 0, 0), (64, 64, 128, 128))
    image.paste((0, 0, 0, 128), (32, 64, 64, 128))
    return png(image.convert(mode))


def stored(site: Site, artifact_id: str) -> Image.Image:
    answer = site.http.get(f"/v1/artifacts/{artifact_id}")
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.content))


def test_a_mask_is_white_where_theirs_was_wholly_transparent(site: Site, client: openai.OpenAI) -> None:
    with worker(site) as taken:
        client.images.edit(prompt=PROMPT, image=picture(), mask=with_a_hole())
    job = taken[0]
    assert (job.task, job.input["strength"]) == ("inpaint", 1.0)
    mask = stored(site, job.input["mask_image"])
    assert (mask.mode, mask.size, mask.getbbox()) == ("L", (256, 256), (64, 64, 128, 128))
    assert [mask.getpixel(at) for at in ((0, 0), (40, 100), (64, 64), (127, 127), (128, 128))] == [0, 0, 255, 255, 0]
    assert stored(site, job.input["image"]).size == (256, 256)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_without_a_mask_the_pictures_own_transparency_is_it(site: Site, client: openai.OpenAI, mode: str) -> None:
    data = with_a_hole(mode) if mode != "PA" else png(Image.open(io.BytesIO(with_a_hole())).quantize(8))
    with worker(site) as taken:
        client.images.edit(prompt=PROMPT, image=data)
    assert taken[0].task == "inpaint"
    assert stored(site, taken[0].input["mask_image"]).getbbox() == (64, 64, 128, 128)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_opaque_picture_without_a_mask_is_painted_over(site: Site, client: openai.OpenAI, mode: str) -> None:
    data = png(Image.new(mode, (192, 192), "teal"))
    with worker(site) as taken:
        client.images.edit(prompt=PROMPT, image=[data], n=2, extra_body={"strength": 0.4, "steps": 5})
    job = taken[0]
    assert (job.task, job.input["strength"], job.steps) == ("image-to-image", 0.4, 2)
    assert (job.input["width"], job.input["num_images_per_prompt"]) == (192, 2)
    assert "mask_image" not in job.input


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_variation_needs_no_prompt(site: Site, client: openai.OpenAI) -> None:
    with worker(site) as taken:
        said = client.images.create_variation(image=picture(), n=2, user="ann", response_format="url")
    job = taken[0]
    assert (job.task, job.input["prompt"], job.input["strength"]) == ("image-to-image", "a picture", 0.5)
    assert job.input["num_images_per_prompt"] == 2
    assert said.data is not None
    assert said.data[0].url


# --- streams ------------------------------------------------------------------------------------------------------


def with_previews(steps: int) -> Any:
    """A worker that tells of every step with a preview, and waits until each has been heard."""

    def end(site: Site, lease: Lease) -> None:
        for step in range(1, steps + 1):
            site.step(lease, step, steps, PREVIEW)
            told = len(site.store.events(lease.job_id, 0))
            wait_until(lambda told=told: told > 0)
            threading.Event().wait(0.15)  # for the tail: of previews that wait the client gets the latest alone
        site.complete(lease)

    return end


@pytest.mark.parametrize(("wanted", "told"), [(0, []), (1, [0]), (3, [0, 1, 2])])
def test_a_stream_of_a_generation(site: Site, client: openai.OpenAI, wanted: int, told: list[int]) -> None:
    with worker(site, with_previews(6)):
        events = list(
            client.images.generate(
                prompt=PROMPT, stream=True, partial_images=wanted, size="192x192", extra_body={"steps": 6}
            )
        )
    partial, last = events[:-1], events[-1]
    assert [event.type for event in partial] == ["image_generation.partial_image"] * len(told)
    assert [event.partial_image_index for event in partial] == told  # type: ignore[union-attr]
    assert all(event.b64_json == "QUJD" and event.output_format == "jpeg" for event in partial)
    assert last.type == "image_generation.completed"
    assert last.usage.total_tokens > 0
    assert (last.size, last.output_format, last.quality, last.background) == ("192x192", "png", "auto", "opaque")
    assert base64.b64decode(last.b64_json)[:4] == b"\x89PNG"


def test_a_stream_of_an_edit_has_its_own_names(site: Site, client: openai.OpenAI) -> None:
    with worker(site, with_previews(3)):
        events = list(
            client.images.edit(
                prompt=PROMPT, image=picture(), stream=True, partial_images=1, response_format="url",
                extra_body={"steps": 3, "strength": 1},
            )
        )  # fmt: skip
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]
    assert events[-1].model_dump()["warnings"] == [
        "response_format was ignored: a stream carries its pictures as b64_json"
    ]


def test_a_stream_says_why_a_job_failed(site: Site, client: openai.OpenAI) -> None:
    from .openai_site import failing

    with (
        worker(site, failing("content_refused", "the picture was refused")),
        pytest.raises(openai.APIError, match="the picture was refused") as caught,
    ):
        list(client.images.generate(prompt=PROMPT, stream=True))
    assert caught.value.code == "content_policy_violation"


def test_a_stream_names_its_job(site: Site, client: openai.OpenAI) -> None:
    with worker(site) as taken:
        answer = client.images.with_raw_response.generate(prompt=PROMPT, stream=True)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert len(list(answer.parse())) == 1
    assert answer.headers["x-job-id"] == taken[0].id


# --- who leaves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_job_whose_client_leaves_is_cancelled(site: Site, is_streamed: bool) -> None:
    body = {"prompt": PROMPT, "stream": is_streamed}
    with pytest.raises(httpx.ReadTimeout), httpx.stream(
        "POST", f"{site.url}/v1/images/generations", json=body, timeout=0.7
    ) as answer:  # fmt: skip
        answer.read()
    [newest] = site.http.get("/v1/jobs?limit=1").json()["data"]
    wait_until(lambda: site.job(newest["id"])["state"] == "cancelled")


def test_with_an_idempotency_key_the_job_goes_on_and_can_be_had_again(site: Site) -> None:
    call: dict[str, Any] = {"json": {"prompt": PROMPT}, "headers": {"Idempotency-Key": "once-1"}}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{site.url}/v1/images/generations", timeout=0.7, **call)
    job, lease = next_job(site)
    site.complete(lease)
    answer = site.http.post("/v1/images/generations", **call)
    assert (answer.status_code, answer.headers["x-job-id"]) == (200, job.id)
    assert answer.headers["idempotency-replayed"] == "true"
    other = site.http.post("/v1/images/generations", json={"prompt": "another"}, headers=call["headers"])
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_the_same_key_with_another_picture_is_a_conflict(site: Site) -> None:
    headers = {"Idempotency-Key": "once-2"}
    codes = []
    with worker(site):
        for colour in ("teal", "teal", "red"):
            files = {"image": ("a.png", picture(colour=colour), "image/png")}
            answer = site.http.post("/v1/images/edits", data={"prompt": PROMPT}, files=files, headers=headers)
            codes.append(answer.status_code)
    assert codes == [200, 200, 409]


def test_a_server_that_stops_answers_who_waits_and_cancels_the_job(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with open_site(tmp_path) as site:
        call = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{site.url}/v1/images/generations", json={"prompt": PROMPT}))
        )
        call.start()
        wait_until(lambda: site.store.queue().queued == 1)
    call.join()
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "unavailable")
    assert int(answers[0].headers["retry-after"]) >= 1
    with open_site(tmp_path) as site:
        [job] = site.http.get("/v1/jobs").json()["data"]
    assert job["state"] == "cancelled"

"""Pictures that the bundled model made, through the native API and through OpenAI's own package, opened as files."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image, ImageChops, ImageStat
from PIL.PngImagePlugin import PngImageFile

from darkroom.errors import BadInput
from darkroom.storage.images import read_settings

from .service import QUICK, Service, served, wait_until

pytestmark = pytest.mark.slow

PROMPT = "night, full moon over a lake"
SIZE: Any = "192x192"
FEW = {"steps": 3, "seed": 7}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("served")
    (home / "darkroom.toml").write_text("[serve]\npreview_every = 2\n")
    with served(home) as found:
        yield found


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="anything", max_retries=0) as found:
        yield found


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def picture_of(said: Any) -> Image.Image:
    return opened(base64.b64decode(said.b64_json))


def made(service: Service, **output: Any) -> tuple[dict[str, Any], bytes]:
    """The output of a job with these wishes, and its bytes as the URL gives them to a stranger."""
    body = {"input": {**QUICK, "num_inference_steps": 2, "seed": 7}, "output": output}
    answer = service.ask("POST", "/jobs", json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    [artifact] = answer.json()["outputs"]
    got = httpx.get(artifact["url"])
    assert (got.status_code, got.headers["content-type"]) == (200, artifact["content_type"])
    assert len(got.content) == artifact["size"]
    return artifact, got.content


# --- the native API -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("keeps", [True, False])
def test_a_format_is_what_it_says_with_metadata_or_without(
    service: Service, tmp_path: Path, kind: str, keeps: bool
) -> None:
    artifact, data = made(service, format=kind, keep_metadata=keeps)
    image = opened(data)
    assert (artifact["content_type"], image.format, image.size) == (f"image/{kind}", kind.upper(), (192, 192))
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    if keeps:
        settings = read_settings(path)
        assert (settings["input"]["prompt"], settings["input"]["seed"]) == (PROMPT, 7)
    else:
        with pytest.raises(BadInput, match="carries no settings"):
            read_settings(path)
        assert PROMPT.encode() not in data
        assert not image.getexif()
        assert "xmp" not in image.info


def test_quality_changes_size_and_nearness(service: Service) -> None:
    reference = opened(made(service, format="png")[1])
    for kind in ("jpeg", "webp"):
        low, high = (made(service, format=kind, quality=quality)[1] for quality in (10, 95))
        assert len(low) < len(high)
        far, near = (difference(opened(data), reference) for data in (low, high))
        assert near < far
        assert near < 6


def difference(one: Image.Image, other: Image.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean)


def test_the_example_of_the_page_runs_as_it_is(service: Service, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/openai.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    subprocess.run(
        [sys.executable, "-c", example.replace("http://127.0.0.1:8188", service.url)], cwd=tmp_path, check=True
    )
    assert opened((tmp_path / "sunset.png").read_bytes()).size == (256, 256)


# --- OpenAI's package ---------------------------------------------------------------------------------------------


def test_the_package_makes_pictures_with_an_address_and_a_key_alone(client: openai.OpenAI) -> None:
    said = client.images.generate(prompt=PROMPT, n=2, size=SIZE, extra_body=FEW)
    assert said.data is not None
    first, second = (picture_of(each) for each in said.data)
    assert (first.size, first.format, said.size) == ((192, 192), "PNG", SIZE)
    assert difference(first, second) > 1
    assert isinstance(first, PngImageFile)
    assert json.loads(first.text["darkroom"])["input"]["seed"] == 7
    again = client.images.generate(prompt=PROMPT, size=SIZE, extra_body={**FEW, "seed": 8})
    assert again.data is not None
    assert difference(picture_of(again.data[0]), second) < 1  # image k has the seed's k-th successor
    assert said.usage is not None
    assert said.usage.total_tokens > 0


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_package_gets_the_format_that_it_asks_for(client: openai.OpenAI, kind: Any) -> None:
    sizes = []
    for compression in (10, 95):
        said = client.images.generate(
            prompt=PROMPT, size=SIZE, output_format=kind, output_compression=compression, extra_body=FEW
        )
        assert said.data is not None
        data = base64.b64decode(said.data[0].b64_json or "")
        assert opened(data).format == kind.upper()
        sizes.append(len(data))
    assert sizes[0] < sizes[1]


def test_the_async_package_streams_while_others_wait(service: Service) -> None:
    async def both() -> tuple[list[Any], Any]:
        async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="anything", max_retries=0) as client:
            wait = asyncio.create_task(
                client.images.generate(prompt=PROMPT, size=SIZE, response_format="url", extra_body=FEW)
            )
            stream = await client.images.generate(
                prompt=PROMPT, size=SIZE, stream=True, partial_images=2, extra_body={"steps": 12, "seed": 7}
            )
            return [event async for event in stream], await wait

    events, waited = asyncio.run(both())
    partial, completed = events[:-1], events[-1]
    assert 1 <= len(partial) <= 2
    assert [event.partial_image_index for event in partial] == list(range(len(partial)))
    assert all(event.type == "image_generation.partial_image" for event in partial)
    assert {(picture_of(event).format, event.output_format) for event in partial} == {("JPEG", "jpeg")}
    assert completed.type == "image_generation.completed"
    assert picture_of(completed).size == (192, 192)
    assert opened(httpx.get(waited.data[0].url).content).size == (192, 192)


def test_an_edit_paints_where_the_mask_is_transparent_and_nowhere_else(client: openai.OpenAI) -> None:
    original = Image.merge("RGB", [Image.linear_gradient("L").resize((192, 192))] * 3)
    mask = Image.new("RGBA", (192, 192), "black")
    mask.paste((0, 0, 0, 0), (96, 0, 192, 192))
    said = client.images.edit(prompt=PROMPT, image=png(original), mask=png(mask), extra_body=FEW)
    assert said.data is not None
    picture = picture_of(said.data[0])
    left, right = (box(picture, original, at) for at in ((0, 0, 80, 192), (112, 0, 192, 192)))
    assert left < 15  # what the VAE makes of it
    assert right > 2 * left


def box(one: Image.Image, other: Image.Image, where: tuple[int, int, int, int]) -> float:
    return difference(one.crop(where), other.crop(where))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_variations_are_like_the_picture_and_unlike_each_other(client: openai.OpenAI) -> None:
    original = Image.linear_gradient("L").resize((192, 192)).convert("RGB")
    said = client.images.create_variation(image=png(original), n=2, extra_body={"steps": 6, "seed": 7})
    assert said.data is not None
    first, second = (picture_of(each) for each in said.data)
    assert difference(first, second) > 0.5
    assert difference(first, original) < 60


def test_errors_are_the_packages_own(service: Service, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.images.generate(prompt=PROMPT, size="512x512")
    assert (bad.value.code, bad.value.param) == ("size_not_offered", "size")
    with pytest.raises(openai.NotFoundError, match="allowed: landscapes"):
        client.images.generate(prompt=PROMPT, model="gpt-image-1")
    assert client.models.retrieve("landscapes").id == "landscapes"
    with pytest.raises(openai.APITimeoutError):
        client.images.generate(prompt=PROMPT, n=10, extra_body={"steps": 900}, timeout=1.5)
    [newest] = service.ask("GET", "/jobs?limit=1").json()["data"]
    assert newest["steps"] == 900
    began = time.monotonic()
    wait_until(lambda: service.job(newest["id"])["state"] == "cancelled")
    assert time.monotonic() - began < 60

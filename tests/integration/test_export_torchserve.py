"""A model that was exported, served by a real TorchServe."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from darkroom.cli import run

from .hosting import torchserve

pytestmark = pytest.mark.slow  # the servers are only there for `make check`
ROUTE = "/predictions/stable-diffusion-xl"
WISH = {
    "prompt": "night, full moon over a lake",
    "negative_prompt": "fog",
    "num_inference_steps": 4,
    "guidance_scale": 5.0,
    "seed": 7,
}
SMALL = {"width": 192, "height": 192}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("torchserve")
    assert (
        run(["export", "torchserve", "landscapes", "--name", "stable-diffusion-xl", "-o", str(folder / "store")]) == 0
    )
    with torchserve(folder, folder / "store") as client:
        yield client


def image_of(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["image"])))


def test_a_request_on_the_wire_of_the_text_is_a_picture_with_its_settings(server: httpx.Client) -> None:
    answer = server.post(ROUTE, json=WISH)
    assert answer.json().keys() == {"image"}
    picture = image_of(answer)
    assert (picture.format, picture.size) == ("PNG", (256, 256))
    said = json.loads(picture.info["darkroom"])["input"]
    assert {name: said[name] for name in WISH} == WISH


def test_bad_input_is_refused_by_name_and_its_neighbours_are_served(server: httpx.Client) -> None:
    bad: list[dict[str, Any]] = [{"num_inference_steps": 0}, {"width": 100, "height": 100}, {"stepz": 4}]
    wishes = [WISH | SMALL | change for change in ({}, bad[0], {"seed": 8}, bad[1], {"seed": 9}, bad[2])]
    with ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(lambda wish: server.post(ROUTE, json=wish), wishes))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 400, 200, 400]
    said = [answer.json()["error"] for answer in answers[1::2]]
    assert [error["code"] for error in said] == ["bad_input", "size_not_offered", "unknown_argument"]
    assert said[0]["field"] == "num_inference_steps"
    assert "from 1 to 1000" in said[0]["message"]


@pytest.mark.parametrize("body", [b"[1]", b"{", b""])
def test_what_is_no_json_object_is_refused(server: httpx.Client, body: bytes) -> None:
    answer = server.post(ROUTE, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "body")


def test_a_short_request_that_comes_later_is_answered_before_a_long_one_that_runs(server: httpx.Client) -> None:
    ended: list[str] = []

    def ask(name: str, steps: int) -> None:
        image_of(server.post(ROUTE, json=WISH | SMALL | {"num_inference_steps": steps}))
        ended.append(name)

    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(ask, "long", 100)
        time.sleep(0.5)  # it is on its way by then; a server that takes one at a time would end it first
        pool.submit(ask, "short", 2).result()
        long.result()
    assert ended == ["short", "long"]


def test_a_reproducible_request_has_the_same_bytes_alone_and_in_company(server: httpx.Client, tmp_path: Path) -> None:
    wish = WISH | SMALL | {"reproducible": True}
    alone = server.post(ROUTE, json=wish).content
    others = [WISH | SMALL | {"seed": seed, "num_inference_steps": 3 + seed} for seed in range(3)]
    with ThreadPoolExecutor(4) as pool:
        together, *_ = pool.map(lambda each: server.post(ROUTE, json=each).content, [wish, *others])
    assert together == alone

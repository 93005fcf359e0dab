"""A model that was exported with its weights and carried elsewhere, served by a real Triton over plain HTTP."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from darkroom.cli import run

from .hosting import triton

pytestmark = pytest.mark.slow  # the servers are only there for `make check`
ROUTE = "/v2/models/landscapes/infer"
TYPES = {
    "prompt": "BYTES",
    "negative_prompt": "BYTES",
    "steps": "INT32",
    "guidance_scale": "FP32",
    "width": "INT32",
    "height": "INT32",
    "seed": "INT64",
    "solver": "BYTES",
    "reproducible": "BOOL",
}
WISH: dict[str, Any] = {"prompt": "night, full moon over a lake", "steps": 4, "seed": 7, "width": 192, "height": 192}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("triton")
    assert run(["export", "triton", "landscapes", "--with-weights", "-o", str(folder / "made")]) == 0
    shutil.move(folder / "made", folder / "elsewhere")
    with triton(folder, folder / "elsewhere") as client:
        yield client


def ask(server: httpx.Client, wish: dict[str, Any]) -> httpx.Response:
    inputs = [{"name": name, "shape": [1], "datatype": TYPES[name], "data": [value]} for name, value in wish.items()]
    outputs = [{"name": "image", "parameters": {"binary_data": True}}]
    return server.post(ROUTE, json={"inputs": inputs, "outputs": outputs})


def pixels_of(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["Inference-Header-Content-Length"])
    [said] = json.loads(answer.content[:length])["outputs"]
    assert (said["name"], said["datatype"]) == ("image", "UINT8")
    return np.frombuffer(answer.content[length:], np.uint8).reshape(said["shape"])


def test_a_prompt_alone_is_enough_for_a_picture(server: httpx.Client) -> None:
    pixels = pixels_of(ask(server, {"prompt": "night, full moon over a lake"}))
    assert pixels.shape == (256, 256, 3)
    assert pixels.std() > 10


def test_every_optional_input_is_taken(server: httpx.Client) -> None:
    plain = pixels_of(ask(server, WISH))
    assert plain.shape == (192, 192, 3)
    for change in ({"negative_prompt": "moon"}, {"guidance_scale": 9.0}, {"solver": "euler"}, {"seed": 8}):
        assert (pixels_of(ask(server, WISH | change)) != plain).any(), change


def test_bad_input_is_refused_by_name_and_its_neighbours_are_served(server: httpx.Client) -> None:
    bad: list[dict[str, Any]] = [{"steps": 0}, {"width": 100, "height": 100}, {"solver": "magic"}]
    wishes = [WISH | change for change in ({}, bad[0], {"seed": 8}, bad[1], {"seed": 9}, bad[2])]
    with ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(lambda wish: ask(server, wish), wishes))
    assert [answer.status_code for answer in answers] == [200, 400, 200, 400, 200, 400]
    said = [answer.json()["error"] for answer in answers[1::2]]
    assert said[0] == "bad_input: steps must be a whole number from 1 to 1000, not 0"
    assert said[1].startswith("size_not_offered: width")
    assert said[2].startswith("unknown_solver: ")


def test_a_short_request_that_comes_later_is_answered_before_a_long_one_that_runs(server: httpx.Client) -> None:
    ended: list[str] = []

    def made(name: str, steps: int) -> None:
        pixels_of(ask(server, WISH | {"steps": steps}))
        ended.append(name)

    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(made, "long", 100)
        time.sleep(0.5)  # it is on its way by then; a server that takes one at a time would end it first
        pool.submit(made, "short", 2).result()
        long.result()
    assert ended == ["short", "long"]


def test_a_reproducible_request_has_the_same_pixels_alone_and_in_company(server: httpx.Client) -> None:
    wish = WISH | {"reproducible": True}
    alone = pixels_of(ask(server, wish))
    others = [WISH | {"seed": seed, "steps": 3 + seed} for seed in range(3)]
    with ThreadPoolExecutor(4) as pool:
        together, *_ = pool.map(lambda each: pixels_of(ask(server, each)), [wish, *others])
    assert (together == alone).all()

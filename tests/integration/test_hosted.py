"""The model of an exported folder, in an engine of its own, without the server that would call it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli import run
from darkroom.errors import BadInput, ContentRefused, DarkroomError, QueueFull, UnknownArgument
from darkroom.integrations.hosted import Hosted, Made, see_one_device

WISH: dict[str, Any] = {"prompt": "night, full moon", "num_inference_steps": 3, "seed": 7, "width": 192, "height": 192}
SETTINGS = """
[serve]
max_queued = 4
[safety]
rules = "rules.toml"
"""


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    folder = tmp_path_factory.mktemp("hosted")
    (folder / "darkroom.toml").write_text(SETTINGS)
    (folder / "rules.toml").write_text('[default]\nwords = ["volcano"]\n')
    command = ["export", "triton", "landscapes", "--config", str(folder / "darkroom.toml"), "-o", str(folder)]
    assert run(command) == 0
    made = Hosted(folder / "landscapes" / "1")
    yield made
    made.close()


def made_of(hosted: Hosted, *wishes: dict[str, Any]) -> list[Made | DarkroomError]:
    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*map(hosted.make, wishes), return_exceptions=True)

    return asyncio.run(all_at_once())


def test_requests_at_once_share_the_denoiser_s_forwards(hosted: Hosted) -> None:
    before = dict(hosted._engine.stats()["modules"]["unet"])
    made = made_of(hosted, *(WISH | {"seed": seed, "num_inference_steps": 8 + seed} for seed in range(3)))
    assert all(isinstance(each, Made) for each in made)
    after = hosted._engine.stats()["modules"]["unet"]
    calls, batches = after["calls"] - before["calls"], after["batches"] - before["batches"]
    assert calls == 8 + 9 + 10
    assert batches < calls


def test_a_picture_knows_how_it_was_made(hosted: Hosted) -> None:
    wish = WISH | {"adapters": {"neon": 0.8}, "solver": "euler"}
    [made, again] = made_of(hosted, wish | {"reproducible": True}, wish)
    assert isinstance(made, Made)
    assert isinstance(again, Made)
    assert made.settings["input"]["solver"] == "euler"
    assert "reproducible" not in made.settings
    assert again.settings["reproducible"] is False
    assert made.image.size == (192, 192)


def test_what_is_refused_leaves_its_neighbours_alone(hosted: Hosted) -> None:
    bad = [{"prompt": "a volcano"}, {"steps": 3}, {"reproducible": "yes"}]
    *refused, made = made_of(hosted, *(WISH | change for change in bad), WISH)
    assert [type(error) for error in refused] == [ContentRefused, UnknownArgument, BadInput]
    assert isinstance(made, Made)


def test_past_its_limit_requests_are_refused_and_those_before_are_served(hosted: Hosted) -> None:
    results = made_of(hosted, *(WISH | {"seed": seed, "num_inference_steps": 8} for seed in range(12)))
    refused = [each for each in results if isinstance(each, DarkroomError)]
    assert {type(each) for each in refused} == {QueueFull}
    assert len(results) - len(refused) >= 4


def test_a_seed_left_out_is_drawn_and_told(hosted: Hosted) -> None:
    wish = {name: value for name, value in WISH.items() if name != "seed"}
    seeds = {made.settings["input"]["seed"] for made in made_of(hosted, wish, wish) if isinstance(made, Made)}
    assert len(seeds) == 2


def test_a_folder_without_settings_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        Hosted(tmp_path)


@pytest.mark.parametrize(("seen", "number", "left"), [(None, 1, "1"), ("2,3", 1, "3"), ("GPU-a, GPU-b", 0, "GPU-a")])
def test_an_instance_sees_its_own_device_alone(
    monkeypatch: pytest.MonkeyPatch, seen: str | None, number: int, left: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen or "")  # what the test changes is undone
    if seen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    see_one_device(number)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left

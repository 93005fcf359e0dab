"""Weighted prompts end to end with the model that ships: the door, the service over HTTP, the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.cli import run
from darkroom.storage.images import read_settings

from .gateway_site import Site, open_site
from .workers import Place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

QUICK: dict[str, Any] = {"prompt": "a red barn", "num_inference_steps": 2, "seed": 7, "width": 192, "height": 192}
LONG = "a red barn by a lake, " * 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house")) as found:
        yield found


def test_jobs_weigh_words_and_read_long_prompts(site: Site) -> None:
    place = Place(site.parts.settings.home, site.parts.settings, site.store, site.storage)
    asked = {
        "plain": {},
        "same": {"prompt_style": "weighted"},
        "heavy": {"prompt": "a (red:1.5) barn", "prompt_style": "weighted"},
        "long": {"prompt": f"{LONG}snow", "prompt_style": "weighted"},
        "longer": {"prompt": f"{LONG}night", "prompt_style": "weighted"},
        "cut": {"prompt": f"{LONG}night"},
    }
    jobs = {
        name: site.submit({**QUICK, "reproducible": True, **said}, model="landscapes") for name, said in asked.items()
    }
    lost = {name for name, job in jobs.items() if any("will not see" in said for said in job["warnings"])}
    assert lost == {"cut"}
    with working(place, "landscapes"):
        place.wait(*(job["id"] for job in jobs.values()))
    made: dict[str, np.ndarray] = {}
    for name, job in jobs.items():
        done = site.job(job["id"])
        assert done["state"] == "succeeded", done["errors"]
        picture = Image.open(io.BytesIO(site.http.get(done["outputs"][0]["url"]).content))
        made[name] = np.asarray(picture)
        style = json.loads(picture.text["darkroom"])["input"].get("prompt_style")  # type: ignore[attr-defined]
        assert style == asked[name].get("prompt_style")
    assert np.array_equal(made["plain"], made["same"])
    for one, other in (("plain", "heavy"), ("long", "longer"), ("longer", "cut")):
        assert not np.array_equal(made[one], made[other]), (one, other)


@pytest.mark.parametrize(
    ("inputs", "status", "code", "field"),
    [
        ({"prompt": "a (red barn", "prompt_style": "weighted"}, 400, "bad_input", "prompt"),
        ({"negative_prompt": "rain]", "prompt_style": "weighted"}, 400, "bad_input", "negative_prompt"),
        ({"prompt_style": "fancy"}, 400, "bad_input", "prompt_style"),
    ],
)
def test_what_cannot_be_read_is_refused(inputs: dict[str, Any], status: int, code: str, field: str, site: Site) -> None:
    got, error = site.refused("POST", "/v1/jobs", json={"model": "landscapes", "input": {**QUICK, **inputs}})
    assert (got, error["code"], error["field"]) == (status, code, field)


def test_the_command_line_weighs_words_and_repeats_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["generate", "a (red:1.5) barn", "--steps", "2", "--seed", "7", "--size", "192x192"]
    threads = torch.get_num_threads()
    try:
        assert run([*command, "--weighted", "-o", "heavy.png"]) == 0
        assert run([*command, "-o", "plain.png"]) == 0
        assert run(["generate", "--like", "heavy.png", "-o", "again.png"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "heavy.png").read_bytes()
    assert not np.array_equal(*(np.asarray(Image.open(name)) for name in ("heavy.png", "plain.png")))
    assert read_settings(tmp_path / "heavy.png")["input"]["prompt_style"] == "weighted"
    capsys.readouterr()
    assert run(["generate", "a (red barn", "--weighted"]) == 2
    assert "'(' at character 3 has no other half" in capsys.readouterr().err

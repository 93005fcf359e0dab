"""Models of further pipelines, from a folder of tiny ones to pictures over HTTP: those of plain diffusers."""

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
from darkroom.config import ModelSettings
from darkroom.storage.images import digest, read_settings
from tests.parity.families import picture
from tests.parity.wider_families import kontext, z_image

from .gateway_site import Site, open_site
from .workers import Place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SIDE = 64
SIZE = {"width": SIDE, "height": SIDE}
REFERENCE = picture(1, 96)
ASKED: dict[str, Any] = {"prompt": "a red barn", "num_inference_steps": 3, "seed": 7, "reproducible": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in ("kontext", "z-image")}
    kontext()["edit"].save_pretrained(made["kontext"])
    z_image()["text"].save_pretrained(made["z-image"])
    return made


@pytest.fixture(scope="module")
def site(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    models = {
        name: ModelSettings(path=folder, dtype="float32", default_size=(SIDE, SIDE)) for name, folder in folders.items()
    }
    with open_site(tmp_path_factory.mktemp("house"), models=models) as found:
        yield found


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def made_by(site: Site, job_id: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels, and the settings inside."""
    job = site.job(job_id)
    assert job["state"] == "succeeded", job["errors"]
    image = Image.open(io.BytesIO(site.http.get(job["outputs"][0]["url"]).content))
    return np.asarray(image), json.loads(image.text["darkroom"])  # type: ignore[attr-defined]


def plainly(pipe: Any, **call: Any) -> np.ndarray:
    """The picture of the unmodified pipeline."""
    call = {"prompt": ASKED["prompt"], "num_inference_steps": 3, **SIZE, **call}
    return np.asarray(pipe(**call, generator=torch.Generator().manual_seed(7)).images[0])


def assert_alike(made: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(made.astype(int) - wanted).max() <= 1


def test_a_reference_is_edited_and_a_caption_is_drawn(site: Site) -> None:
    settings = site.parts.settings
    place = Place(settings.home, settings, site.store, site.storage)
    upload = site.http.post("/v1/uploads", content=png(REFERENCE)).json()["artifact_id"]
    edit = site.submit({**ASKED, **SIZE, "image": upload}, model="kontext")
    assert (edit["task"], edit["input"]["width"], "strength" in edit["input"]) == ("image-to-image", SIDE, False)
    jobs = {
        "edit": edit["id"],
        "text": site.submit({**ASKED, **SIZE}, model="kontext")["id"],
        "z": site.submit({**ASKED, **SIZE, "guidance_scale": 3.0}, model="z-image")["id"],
        "z-drawn-over": site.submit({**ASKED, "image": upload, "strength": 0.7}, model="z-image")["id"],
    }
    with working(place, "kontext", "z-image") as running:
        assert running.failures == []
        place.wait(*jobs.values())
    pictures = {name: made_by(site, job_id) for name, job_id in jobs.items()}
    edited = plainly(kontext()["edit"], image=REFERENCE, max_area=SIDE * SIDE, _auto_resize=False)
    assert_alike(pictures["edit"][0], edited)
    assert np.abs(edited.astype(int) - pictures["text"][0]).max() > 1, "the reference is not seen"
    assert_alike(pictures["z"][0], plainly(z_image()["text"], guidance_scale=3.0))
    assert pictures["z-drawn-over"][0].shape == (96, 96, 3)
    assert pictures["edit"][1]["image_sha256"] == digest(REFERENCE)


def test_a_model_says_what_it_takes(site: Site) -> None:
    said = {name: site.http.get(f"/v1/models/{name}").json() for name in ("kontext", "z-image")}
    assert said["kontext"]["tasks"] == ["text-to-image", "image-to-image"]
    assert "strength" not in said["kontext"]["input"]["properties"]
    assert said["z-image"]["tasks"] == ["text-to-image", "image-to-image", "inpaint"]
    body = {"model": "kontext", "input": {**ASKED, "image": "data:image/png;base64,", "strength": 0.5}}
    status, error = site.refused("POST", "/v1/jobs", json=body)
    assert status == 400, error


def test_the_command_line_edits_a_reference_and_repeats_it(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    REFERENCE.save("barn.png")
    threads = torch.get_num_threads()
    model = str(folders["kontext"])
    command = ["generate", "a red barn", "--model", model, "--steps", "2", "--seed", "7", "--size", f"{SIDE}x{SIDE}"]
    try:
        assert run([*command, "--init-image", "barn.png", "-o", "edited.png"]) == 0
        assert run(["generate", "--like", "edited.png", "--init-image", "barn.png", "-o", "again.png"]) == 0
        assert run([*command, "--init-image", "barn.png", "--strength", "0.5", "-o", "no.png"]) == 2
    finally:
        torch.set_num_threads(threads)
    assert "takes no strength" in (said := capsys.readouterr().err)
    assert "[--strength]" in said
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "edited.png").read_bytes()
    assert read_settings(tmp_path / "edited.png")["task"] == "image-to-image"

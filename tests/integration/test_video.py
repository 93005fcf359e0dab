"""Videos end to end with tiny models: the door, the service over HTTP, the command line, the file itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from darkroom.cli import run
from darkroom.client.blocking import Client
from darkroom.config import ModelSettings
from darkroom.errors import BadInput, SizeNotOffered
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.loading import Loaded, load
from darkroom.models.request import validate
from darkroom.storage.images import read_settings
from darkroom.storage.videos import Video, encode_mp4
from tests.media_files import frames_of, need_av, save_video_model

from .gateway_site import Site, open_site
from .workers import Place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FAMILIES = ("wan", "ltx")
QUICK: dict[str, Any] = {"prompt": "waves at night", "num_inference_steps": 2, "seed": 7, "num_frames": 9}
SAME, OTHER = 0.5, 2.0  # mean differences of bytes: a video and itself, a video and another


@pytest.fixture(scope="module", autouse=True)
def _av() -> None:
    need_av()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelSettings]:
    home = tmp_path_factory.mktemp("models")
    return {
        name: ModelSettings(path=save_video_model(home / name, name), dtype="float32", device="cpu")
        for name in FAMILIES
    }


@pytest.fixture(scope="module")
def loaded(models: dict[str, ModelSettings], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Loaded]:
    home = tmp_path_factory.mktemp("home")
    return {name: load(Entry(name, FOLDER, said, home), is_offline=True) for name, said in models.items()}


def plain(loaded: Loaded, rate: float = 16.0, **more: Any) -> np.ndarray:
    """The frames that diffusers itself makes, as H.264 leaves them: of noise that is little."""
    torch.manual_seed(7)
    call: dict[str, Any] = {"height": 32, "width": 32, "guidance_scale": 4.0, **QUICK, **more}
    generator = torch.Generator().manual_seed(call.pop("seed"))
    made = loaded.pipe(**call, output_type="np", generator=generator).frames[0]
    return frames_of(encode_mp4(Video(np.round(made * 255).astype(np.uint8), rate), None))[0]


def off(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


# ---- The door ----


def test_what_is_offered_follows_from_the_models_files(loaded: dict[str, Loaded]) -> None:
    for name, step, frames, rate, multiple in (("wan", 4, 81, 16.0, 16), ("ltx", 4, 161, 25.0, 32)):
        offer = loaded[name].offer()
        assert offer.tasks == ("text-to-video",)
        assert (offer.layout.frame_step, offer.layout.size_multiple % multiple) == (step, 0)
        asked = validate({"prompt": "waves", "seed": 1}, offer)
        assert (asked.task, asked.num_frames, asked.frame_rate) == ("text-to-video", frames, rate)
        assert (asked.width, asked.height, asked.num_inference_steps) == (32, 32, 2)
        assert asked.settings()["num_frames"] == frames


@pytest.mark.parametrize(
    ("inputs", "error", "field", "said"),
    [
        ({"num_frames": 10}, BadInput, "num_frames", "1 more than a multiple of 4 for wan, such as 9 or 13, not 10"),
        ({"num_frames": 0}, BadInput, "num_frames", "from 1 to 257"),
        ({"num_frames": 261}, BadInput, "num_frames", "from 1 to 257"),
        ({"frame_rate": 0}, BadInput, "frame_rate", "from 1 to 60"),
        ({"frame_rate": 61.0}, BadInput, "frame_rate", "from 1 to 60"),
        ({"width": 48, "height": 32}, SizeNotOffered, "width", "does not offer 48x32"),
        ({"task": "text-to-image"}, BadInput, "task", "the input is that of 'text-to-video'"),
        ({"strength": 0.5}, BadInput, "image", "needs an image"),
    ],
)
def test_what_a_video_cannot_be_is_refused_by_name(
    inputs: dict[str, Any], error: type[Exception], field: str, said: str, loaded: dict[str, Loaded]
) -> None:
    with pytest.raises(error, match=said) as caught:
        validate({**QUICK, **inputs}, loaded["wan"].offer())
    assert caught.value.field == field  # type: ignore[attr-defined]


# ---- The service ----


@pytest.fixture(scope="module")
def site(models: dict[str, ModelSettings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), models=models) as found:
        yield found


@pytest.fixture(scope="module")
def place(site: Site) -> Place:
    return Place(site.parts.settings.home, site.parts.settings, site.store, site.storage)


def test_jobs_give_the_videos_of_plain_diffusers(site: Site, place: Place, loaded: dict[str, Loaded]) -> None:
    asked = {
        "wan": {"model": "wan", "inputs": QUICK},
        "wan again": {"model": "wan", "inputs": {**QUICK, "seed": 8, "prompt": "a red barn", "frame_rate": 24.0}},
        "ltx": {"model": "ltx", "inputs": {**QUICK, "frame_rate": 12.0}},
    }
    jobs = {name: site.submit(said["inputs"], model=said["model"])["id"] for name, said in asked.items()}  # type: ignore[arg-type]
    with working(place, *FAMILIES):
        place.wait(*jobs.values())
    videos: dict[str, np.ndarray] = {}
    for name, (width, rate) in {"wan": (32, 16.0), "wan again": (32, 24.0), "ltx": (32, 12.0)}.items():
        job = site.job(jobs[name])
        assert (job["state"], job["task"], job["output"]["format"]) == ("succeeded", "text-to-video", "mp4"), job
        [output] = job["outputs"]
        told = {key: output[key] for key in ("content_type", "width", "height", "frames", "fps")}
        assert told == {"content_type": "video/mp4", "width": width, "height": 32, "frames": 9, "fps": rate}
        answer = site.http.get(output["url"])
        assert answer.headers["content-type"] == "video/mp4"
        assert len(answer.content) == output["size"]
        videos[name], shown = frames_of(answer.content)
        assert (len(videos[name]), shown) == (9, rate)
    wanted = {"wan": plain(loaded["wan"]), "ltx": plain(loaded["ltx"], 12.0, frame_rate=12.0)}
    assert {name for name, frames in wanted.items() if off(videos[name], frames) > SAME} == set()
    assert off(videos["wan again"], wanted["wan"]) > OTHER
    assert off(videos["ltx"], plain(loaded["ltx"], 12.0, frame_rate=25.0)) > SAME  # the pipeline was told the rate


def test_a_models_description_says_what_a_video_may_be(site: Site) -> None:
    fields = site.http.get("/v1/models/wan").json()["input"]["properties"]
    assert (fields["num_frames"]["default"], fields["frame_rate"]["default"]) == (81, 16.0)
    assert not {"image", "mask_image", "strength"} & fields.keys()
    pictures = site.http.get("/v1/models/landscapes").json()["input"]["properties"]
    assert not {"num_frames", "frame_rate"} & pictures.keys()


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"model": "wan", "output": {"format": "png"}}, "bad_input", "output.format"),
        ({"model": "wan", "output": {"format": "jpeg", "quality": 80}}, "bad_input", "output.format"),
        ({"model": "landscapes", "output": {"format": "mp4"}}, "bad_input", "output.format"),
        ({"model": "landscapes", "input": {"num_frames": 9}}, "unknown_argument", "num_frames"),
        ({"model": "wan", "input": {"num_frames": 10}}, "bad_input", "num_frames"),
        ({"model": "wan", "output": {"format": "mp4", "quality": 80}}, "bad_input", "output"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(body: dict[str, Any], code: str, field: str, site: Site) -> None:
    status, error = site.refused("POST", "/v1/jobs", json={**body, "input": {"prompt": "x", **body.get("input", {})}})
    assert (status, error["code"], error["field"]) == (400, code, field)


def test_the_client_fetches_a_video(site: Site, place: Place, tmp_path: Path) -> None:
    with Client(site.url, retries=0) as client, working(place, "wan"):
        job = client.wait(client.submit(**QUICK, model="wan"))
        [output] = job.outputs
        assert (output.frames, output.fps) == (9, 16.0)
        client.download(output, tmp_path / "waves.mp4")
    said = read_settings(tmp_path / "waves.mp4")
    assert (said["input"]["num_frames"], said["input"]["seed"], said["task"]) == (9, 7, "text-to-video")


def test_a_part_of_a_video_can_be_fetched_as_browsers_do(site: Site, place: Place) -> None:
    job = site.submit(QUICK, model="wan")
    with working(place, "wan"):
        place.wait(job["id"])
    [output] = site.job(job["id"])["outputs"]
    whole = site.http.get(output["url"])
    assert whole.headers["accept-ranges"] == "bytes"

    def part(said: str) -> httpx.Response:
        return site.http.get(output["url"], headers={"Range": said})

    size = output["size"]
    for said, first, last in (("bytes=0-1", 0, 1), ("bytes=100-", 100, size - 1), ("bytes=-7", size - 7, size - 1)):
        answer = part(said)
        assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
        assert answer.content == whole.content[first : last + 1]
    assert part(f"bytes={size}-").status_code == 416
    assert part("bytes=0-1,5-6").status_code == 200  # several parts at once: all of it, as RFC 9110 allows


# ---- The command line ----


def test_the_command_line_makes_a_video_and_repeats_it(
    models: dict[str, ModelSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "darkroom.toml").write_text(f'[models.wan]\npath = "{models["wan"].path}"\n')
    monkeypatch.chdir(tmp_path)
    command = ["generate", "waves at night", "--model", "wan", "--steps", "2", "--seed", "7", "--frames", "9"]
    threads = torch.get_num_threads()
    try:
        assert run([*command, "--fps", "12", "-o", "waves.mp4"]) == 0
        assert "waves.mp4  32x32, 9 frames at 12 a second  seed 7" in capsys.readouterr().out
        assert run(["generate", "--like", "waves.mp4", "-o", "again.mp4"]) == 0
        assert run(["generate", "--like", "waves.mp4", "--seed", "8", "--json"]) == 0
    finally:
        torch.set_num_threads(threads)
    frames, rate = frames_of((tmp_path / "waves.mp4").read_bytes())
    assert (frames.shape, rate) == ((9, 32, 32, 3), 12.0)
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "waves.mp4").read_bytes()
    assert off(frames, frames_of((tmp_path / "out.mp4").read_bytes())[0]) > OTHER
    capsys.readouterr()
    assert run([*command, "-o", "waves.png"]) == 2
    assert "output must end in .mp4, not 'waves.png'" in capsys.readouterr().err
    assert run([*command[:-1], "10"]) == 2
    assert "such as 9 or 13, not 10 [--frames]" in capsys.readouterr().err


def test_submit_asks_for_frames_and_writes_the_video(
    site: Site, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_URL", site.url)
    with working(place, "wan"):
        words = ["submit", "waves", "--model", "wan", "--steps", "2", "--frames", "5", "--fps", "8"]
        assert run([*words, "-o", str(tmp_path / "waves.mp4"), "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["input"]["num_frames"], job["input"]["frame_rate"]) == (5, 8.0)
    assert len(frames_of((tmp_path / "waves.mp4").read_bytes())[0]) == 5


def test_unknown_frames_of_a_picture_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a lake", "--frames", "9", "-o", str(tmp_path / "x.png")]) == 2
    assert "makes no videos and takes no num_frames; leave it out [--frames]" in capsys.readouterr().err

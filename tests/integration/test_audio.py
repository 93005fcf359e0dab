"""Sounds end to end with a tiny model: the door, the service over HTTP, the command line, the file itself."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkroom.cli import run
from darkroom.client.blocking import Client
from darkroom.config import ModelSettings
from darkroom.errors import BadInput, UnknownArgument, UnknownSolver
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.loading import Loaded, load
from darkroom.models.request import validate
from darkroom.storage.images import read_settings
from tests.media_files import samples_of, save_audio_model
from tests.missing import skip_or_fail

from .gateway_site import Site, open_site
from .workers import Place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

QUICK: dict[str, Any] = {"prompt": "a dog barks twice", "num_inference_steps": 3, "seed": 7, "audio_end_in_s": 2.5}
LOUDEST = 32767


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> ModelSettings:
    folder = save_audio_model(tmp_path_factory.mktemp("models") / "sea")
    return ModelSettings(path=folder, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def loaded(said: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(Entry("sea", FOLDER, said, tmp_path_factory.mktemp("home")), is_offline=True)


def plain(loaded: Loaded, seed: int = 7, **more: Any) -> np.ndarray:
    """The samples that diffusers itself makes."""
    call: dict[str, Any] = {"guidance_scale": 4.0, **QUICK, **more}
    del call["seed"]
    torch.manual_seed(seed)
    made = loaded.pipe(**call, output_type="np", generator=torch.Generator().manual_seed(seed)).audios[0]
    return np.asarray(np.round(made.T.clip(-1, 1) * LOUDEST).astype(np.int16))


# ---- The door ----


def test_what_is_offered_follows_from_the_models_files(loaded: Loaded) -> None:
    offer = loaded.offer()
    assert (offer.tasks, offer.layout.longest_s, offer.solvers) == (("text-to-audio",), 4.0, ())
    asked = validate({"prompt": "rain", "seed": 1}, offer)
    assert (asked.task, asked.audio_end_in_s, asked.width, asked.height) == ("text-to-audio", 4.0, None, None)
    assert {"width", "height", "num_frames"} & asked.settings().keys() == set()


@pytest.mark.parametrize(
    ("inputs", "error", "field", "why"),
    [
        ({"audio_end_in_s": 0}, BadInput, "audio_end_in_s", "from 0.1 to 4, not 0"),
        ({"audio_end_in_s": 4.5}, BadInput, "audio_end_in_s", "from 0.1 to 4, not 4.5"),
        ({"width": 64, "height": 64}, UnknownArgument, "width", "makes no pictures and takes no width"),
        ({"num_frames": 9}, UnknownArgument, "num_frames", "makes no videos and takes no num_frames"),
        ({"solver": "ddim"}, UnknownSolver, "solver", "its own is the only one that fits"),
    ],
)
def test_what_a_sound_cannot_be_is_refused_by_name(
    inputs: dict[str, Any], error: type[BadInput], field: str, why: str, loaded: Loaded
) -> None:
    with pytest.raises(error, match=why) as caught:
        validate({**QUICK, **inputs}, loaded.offer())
    assert caught.value.field == field


# ---- The service ----


@pytest.fixture(scope="module")
def site(said: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), models={"sea": said}) as found:
        yield found


@pytest.fixture(scope="module")
def place(site: Site) -> Place:
    return Place(site.parts.settings.home, site.parts.settings, site.store, site.storage)


def test_jobs_give_the_sounds_of_plain_diffusers(site: Site, place: Place, loaded: Loaded) -> None:
    asked: dict[str, dict[str, Any]] = {
        "one": {},
        "two": {"seed": 8, "prompt": "rain", "num_inference_steps": 5, "negative_prompt": "wind"},
        "short": {"audio_end_in_s": 0.5},
    }
    jobs = {name: site.submit({**QUICK, **said}, model="sea")["id"] for name, said in asked.items()}
    with working(place, "sea"):
        place.wait(*jobs.values())
    for name, more in asked.items():
        job = site.job(jobs[name])
        assert (job["state"], job["task"], job["output"]["format"]) == ("succeeded", "text-to-audio", "wav"), job
        [output] = job["outputs"]
        told = {key: output[key] for key in ("content_type", "width", "height", "frames", "fps")}
        assert told == {"content_type": "audio/wav", "width": None, "height": None, "frames": None, "fps": None}
        samples, rate = samples_of(site.http.get(output["url"]).content)
        wanted = plain(loaded, **more)
        assert (rate, samples.shape) == (128, (int(128 * job["input"]["audio_end_in_s"]), 2))
        assert wanted.std() > LOUDEST / 100
        assert np.abs(samples.astype(int) - wanted).max() <= 1


def test_a_models_description_says_what_a_sound_may_be(site: Site) -> None:
    said = site.http.get("/v1/models/sea").json()
    fields = said["input"]["properties"]
    assert (fields["audio_end_in_s"]["maximum"], fields["audio_end_in_s"]["default"]) == (4.0, 4.0)
    assert not {"width", "height", "image", "num_frames", "frame_rate", "solver"} & fields.keys()
    assert "audio_end_in_s" not in site.http.get("/v1/models/landscapes").json()["input"]["properties"]
    with Client(site.url, retries=0) as client:
        assert client.model("sea").tasks == ("text-to-audio",)


def test_what_does_not_fit_is_refused_at_the_door(site: Site) -> None:
    bodies: list[tuple[dict[str, Any], str, str]] = [
        ({"model": "sea", "output": {"format": "mp4"}}, "bad_input", "output.format"),
        ({"model": "landscapes", "output": {"format": "wav"}}, "bad_input", "output.format"),
        ({"model": "landscapes", "input": {"audio_end_in_s": 1.0}}, "unknown_argument", "audio_end_in_s"),
        ({"model": "sea", "input": {"audio_end_in_s": 5.0}}, "bad_input", "audio_end_in_s"),
    ]
    for body, code, field in bodies:
        asked = {**body, "input": {"prompt": "x", **body.get("input", {})}}
        status, error = site.refused("POST", "/v1/jobs", json=asked)
        assert (status, error["code"], error["field"]) == (400, code, field)


# ---- The command line ----


def test_the_command_line_makes_a_sound_and_repeats_it(
    said: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "darkroom.toml").write_text(f'[models.sea]\npath = "{said.path}"\n')
    monkeypatch.chdir(tmp_path)
    command = ["generate", "a dog", "--model", "sea", "--steps", "3", "--seed", "7", "--seconds", "1.5"]
    threads = torch.get_num_threads()
    try:
        assert run([*command, "-o", "dog.wav"]) == 0
        assert "dog.wav  1.5 s  seed 7" in capsys.readouterr().out
        assert run(["generate", "--like", "dog.wav", "-o", "again.wav"]) == 0
        assert run(["generate", "--like", "dog.wav", "--seconds", "1"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "dog.wav").read_bytes()
    assert len(samples_of((tmp_path / "out.wav").read_bytes())[0]) == 128
    assert read_settings(tmp_path / "dog.wav")["input"]["audio_end_in_s"] == 1.5
    capsys.readouterr()
    assert run([*command, "-o", "dog.mp4"]) == 2
    assert "output must end in .wav" in capsys.readouterr().err
    assert run([*command[:-1], "9"]) == 2
    assert "from 0.1 to 4, not 9.0 [--seconds]" in capsys.readouterr().err


def test_submit_asks_for_seconds_and_writes_the_sound(
    site: Site, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_URL", site.url)
    with working(place, "sea"):
        words = ["submit", "waves", "--model", "sea", "--steps", "2", "--seconds", "1"]
        assert run([*words, "-o", str(tmp_path / "waves.wav"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["input"]["audio_end_in_s"] == 1.0
    assert len(samples_of((tmp_path / "waves.wav").read_bytes())[0]) == 128


# ---- The scheduler that Stable Audio Open brings ----


def test_the_stock_scheduler_gives_the_sound_of_plain_diffusers(
    tmp_path: Path,
) -> None:
    if importlib.util.find_spec("torchsde") is None:
        skip_or_fail("torchsde is not installed")
    from darkroom.engine.engine import Engine
    from darkroom.models.tasks import call_of, made_of

    folder = save_audio_model(tmp_path / "stock", is_stock=True)
    stock = load(Entry("stock", FOLDER, ModelSettings(path=folder, dtype="float32"), tmp_path), is_offline=True)
    requests = [validate({**QUICK, "seed": seed}, stock.offer()) for seed in (7, 8)]
    with Engine(stock.pipe) as engine:
        handles = [engine.submit(seed=each.seed, **call_of(stock.pipe, each)) for each in requests]
        made = [made_of(stock.pipe, each, handle.result(60)) for each, handle in zip(requests, handles, strict=True)]
    for each, sound in zip(requests, made, strict=True):
        assert np.abs(sound.samples.astype(int) - plain(stock, seed=each.seed)).max() <= 1  # type: ignore[union-attr]

"""Control images end to end with the model that ships: the engine, the service over HTTP, the command line."""

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
from darkroom.client.blocking import Client
from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.errors import NotSupported
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.loading import Loaded, load
from darkroom.models.request import ImageRequest, validate
from darkroom.models.tasks import call_of, pipeline_for
from darkroom.storage.images import digest, read_settings
from darkroom.worker.events import AttemptResumed, BatchRan
from tests.control_files import LANDSCAPES, edges, save_controlnet

from .gateway_site import Site, open_site
from .workers import Place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

QUICK: dict[str, Any] = {"prompt": "a red barn", "num_inference_steps": 2, "seed": 7}
ROWS = 4  # two guided requests
SIZE = {"width": 192, "height": 192}
START = Image.linear_gradient("L").resize((192, 192)).convert("RGB")
HALF = Image.new("L", (192, 192))
HALF.paste(255, (0, 0, 96, 192))
TASKS: dict[str, dict[str, Any]] = {
    "text-to-image": {},
    "image-to-image": {"image": START, "strength": 0.9},
    "inpaint": {"image": START, "mask_image": HALF},
}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_controlnet(tmp_path_factory.mktemp("control") / "edges")


@pytest.fixture(scope="module")
def said(control: Path) -> ModelSettings:
    return ModelSettings(path=LANDSCAPES, controlnet=str(control), dtype="float32", reproducible_rows=ROWS)


@pytest.fixture(scope="module")
def loaded(said: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(Entry("mine", FOLDER, said, tmp_path_factory.mktemp("home")), is_offline=True)


def pixels(answer: Any) -> np.ndarray:
    return np.asarray(answer.images[0])


def calls_of(loaded: Loaded, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A request's pipeline, and what to call it with."""
    asked: ImageRequest = validate({**QUICK, **SIZE, **inputs}, loaded.offer())
    controlnet = None if asked.control_image is None else loaded.controlnet
    pipe = pipeline_for(loaded.pipe, asked.task, asked.solver, "mine", controlnet)
    pipe.set_progress_bar_config(disable=True)
    return pipe, {**call_of(pipe, asked), "output_type": "np"}


@pytest.mark.parametrize("task", TASKS)
def test_a_controlled_picture_is_that_of_plain_diffusers_and_no_plain_one(task: str, loaded: Loaded) -> None:
    plain, plain_call = calls_of(loaded, TASKS[task])
    pipe, call = calls_of(loaded, {**TASKS[task], "control_image": edges(), "controlnet_conditioning_scale": 1.5})
    assert pipe.__dict__["unet"] is plain.__dict__["unet"] is loaded.pipe.unet
    wanted = pixels(pipe(**call, generator=torch.Generator().manual_seed(7)))
    with Engine(reproducible=True, fixed_rows=ROWS) as engine:
        for name, each in (("plain", plain), ("control", pipe)):
            engine.add(each, name)
        uncontrolled = engine.submit(model="plain", seed=7, **plain_call)
        twice = [engine.submit(model="control", seed=7, **call) for _ in range(2)]
        made, again = (pixels(handle.result(60)) for handle in twice)
        modules = engine.stats()["modules"]
    assert np.abs(made - wanted).max() < 1e-5
    assert made.tobytes() == again.tobytes()
    assert np.abs(made - pixels(uncontrolled.result(60))).mean() > 0.005
    for module in ("controlnet", "unet"):
        assert modules[module]["batches"] < modules[module]["calls"], "no two of them shared a forward"


# ---- The service ----


@pytest.fixture(scope="module")
def site(said: ModelSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), models={"mine": said}, drain_s=0.01) as found:
        yield found


@pytest.fixture(scope="module")
def place(site: Site) -> Place:
    return Place(site.parts.settings.home, site.parts.settings, site.store, site.storage)


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def submit(site: Site, model: str = "mine", **inputs: Any) -> Any:
    return site.submit({**QUICK, "reproducible": True, **inputs}, model=model)


def picture_of(site: Site, job_id: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels, and the settings inside."""
    job = site.job(job_id)
    assert job["state"] == "succeeded", job["errors"]
    image = Image.open(io.BytesIO(site.http.get(job["outputs"][0]["url"]).content))
    return np.asarray(image), json.loads(image.text["darkroom"])  # type: ignore[attr-defined]


def test_an_upload_controls_a_job_and_so_does_a_data_url(site: Site, place: Place, loaded: Loaded) -> None:
    upload = site.http.post("/v1/uploads", content=png(edges())).json()["artifact_id"]
    with Client(site.url, retries=0) as client:
        sent = client.submit(**QUICK, model="mine", control_image=edges())
    plain = submit(site, **SIZE)["id"]
    jobs = [submit(site, control_image=upload), submit(site, control_image=upload, controlnet_conditioning_scale=0.5)]
    assert [job["input"]["controlnet_conditioning_scale"] for job in jobs] == [1.0, 0.5]
    assert jobs[0]["input"]["control_image"] == upload
    assert (jobs[0]["input"]["width"], jobs[0]["task"]) == (192, "text-to-image")
    inpaint = submit(site, control_image=upload, image=upload, mask_image=upload)
    assert inpaint["task"] == "inpaint"
    with working(place, "mine") as running:
        place.wait(plain, inpaint["id"], sent.id, *(job["id"] for job in jobs))
    assert any(batch.requests > 1 for batch in running.heard.of(BatchRan) if batch.module.endswith("controlnet"))
    pictures = [picture_of(site, job_id)[0] for job_id in (plain, *(job["id"] for job in jobs), inpaint["id"])]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert np.abs(picture_of(site, sent.id)[0].astype(int) - pictures[1]).max() <= 1
    settings = picture_of(site, jobs[1]["id"])[1]
    assert settings["input"]["controlnet_conditioning_scale"] == 0.5
    assert (settings["control_sha256"], settings["revision"]) == (digest(edges()), loaded.revision)
    assert not {"control_image", "control_sha256"} & {*settings["input"], *picture_of(site, plain)[1]}


def test_a_drained_job_with_a_control_image_goes_on_where_it_was(site: Site, place: Place) -> None:
    upload = site.http.post("/v1/uploads", content=png(edges())).json()["artifact_id"]
    asked = {"control_image": upload, "num_inference_steps": 10}
    cut = submit(site, **asked)["id"]
    with working(place, "mine") as first:
        place.until(lambda: place.job(cut).step >= 3)
        first.worker.ask_drain()
        first.join()
    whole = submit(site, **asked)["id"]
    with working(place, "mine", worker_id="w2") as second:
        place.wait(whole, cut)
    assert second.heard.of(AttemptResumed)
    assert site.job(cut)["metrics"]["resumed_from_step"] >= 3
    assert np.array_equal(picture_of(site, cut)[0], picture_of(site, whole)[0])


def test_only_a_model_with_a_controlnet_says_that_it_takes_one(site: Site) -> None:
    models = {name: site.http.get(f"/v1/models/{name}").json() for name in ("mine", "landscapes")}
    assert {name: model["has_controlnet"] for name, model in models.items()} == {"mine": True, "landscapes": False}
    for name, model in models.items():
        fields = {"control_image", "controlnet_conditioning_scale"} & model["input"]["properties"].keys()
        assert len(fields) == (2 if name == "mine" else 0)
    body = {"model": "landscapes", "input": {**QUICK, "control_image": "https://127.0.0.1/x.png"}}
    status, error = site.refused("POST", "/v1/jobs", json=body)
    assert (status, error["code"], error["field"]) == (501, "not_supported", "control_image")
    with Client(site.url, retries=0) as client:
        assert client.model("mine").has_controlnet
        with pytest.raises(NotSupported, match=r"`controlnet` in \[models.landscapes\]"):
            client.submit("x", model="landscapes", control_image=png(edges()))


def test_a_control_image_of_another_size_is_refused_with_both(site: Site) -> None:
    upload = site.http.post("/v1/uploads", content=png(edges(320, 192))).json()["artifact_id"]
    body = {"model": "mine", "input": {**QUICK, **SIZE, "control_image": upload}}
    status, error = site.refused("POST", "/v1/jobs", json=body)
    assert (status, error["field"]) == (400, "control_image")
    assert "control_image is 320x192 and the size asked for is 192x192" in error["message"]


# ---- The command line ----


def test_the_command_line_draws_after_a_control_image_and_repeats_it(
    control: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "darkroom.toml").write_text(f'[models.mine]\npath = "{LANDSCAPES}"\ncontrolnet = "{control}"\n')
    monkeypatch.chdir(tmp_path)
    edges().save("edges.png")
    threads = torch.get_num_threads()
    command = ["generate", "a red barn", "--model", "mine", "--steps", "2", "--seed", "7"]
    try:
        assert run([*command, "--control-image", "edges.png", "--control-scale", "0.7", "-o", "barn.png"]) == 0
        assert run(["generate", "--like", "barn.png", "-o", "again.png"]) == 2
        assert "was made with a control image: give that one too [--control-image]" in capsys.readouterr().err
        assert run(["generate", "--like", "barn.png", "--control-image", "edges.png", "-o", "again.png"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "barn.png").read_bytes()
    assert read_settings(tmp_path / "barn.png")["input"]["controlnet_conditioning_scale"] == 0.7
    assert Image.open("barn.png").size == (192, 192)
    assert run([*command, "--control-image", "edges.png", "--control-scale", "3"]) == 2
    assert "from 0 to 2, not 3.0 [--control-scale]" in capsys.readouterr().err
    assert run(["models"]) == 0
    assert f"ControlNet {control}" in capsys.readouterr().out


def test_submit_sends_the_control_image(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DARKROOM_URL", site.url)
    edges().save(tmp_path / "edges.png")
    words = ["submit", "a red barn", "--model", "mine", "--control-image", str(tmp_path / "edges.png")]
    assert run([*words, "--control-scale", "0.25", "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)["input"]
    artifact = site.store.artifact(asked["control_image"])
    assert artifact is not None
    assert site.storage.get(artifact.key) == (tmp_path / "edges.png").read_bytes()
    assert asked["controlnet_conditioning_scale"] == 0.25
    assert run([*words[:-1], str(tmp_path / "nope.png")]) == 2
    assert "nope.png cannot be read" in (said := capsys.readouterr().err)
    assert "[--control-image]" in said

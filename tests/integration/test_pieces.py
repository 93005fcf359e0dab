"""Image prompts, T2I-Adapters, refiners and margins end to end: the engine, the service over HTTP, the command line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from darkroom.cli import run
from darkroom.client.blocking import Client
from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.errors import BadInput, NotSupported
from darkroom.models.catalogue import FOLDER, Entry
from darkroom.models.footprint import weights_of
from darkroom.models.loading import Loaded, load
from darkroom.models.request import ImageRequest, validate
from darkroom.models.tasks import call_of, variant_of
from darkroom.storage.images import digest, read_settings
from darkroom.worker.events import AttemptResumed, BatchRan
from tests.control_files import LANDSCAPES, edges
from tests.parity.families import picture
from tests.parity.wider_families import refined
from tests.piece_files import save_ip_adapter, t2i_adapter

from .gateway_site import Site, open_site
from .workers import Place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

QUICK: dict[str, Any] = {"prompt": "a red barn", "num_inference_steps": 2, "seed": 7}
ROWS = 4  # two guided requests
SIZE = {"width": 192, "height": 192}
PROMPT = picture(1, 100)
START = Image.linear_gradient("L").resize((192, 192)).convert("RGB")
HALF = Image.new("L", (192, 192))
HALF.paste(255, (0, 0, 96, 192))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the models below are made of."""
    folder = tmp_path_factory.mktemp("pieces")
    unet = StableDiffusionPipeline.from_pretrained(LANDSCAPES, local_files_only=True).unet
    save_ip_adapter(unet, folder / "ip")
    t2i_adapter(unet, 16).save_pretrained(folder / "t2i")
    refined()["text"].save_pretrained(folder / "base")
    refined()["drawn-over"].save_pretrained(folder / "refiner")
    return {name: folder / name for name in ("ip", "t2i", "base", "refiner")}


@pytest.fixture(scope="module")
def said(files: dict[str, Path]) -> dict[str, ModelSettings]:
    own = {"path": LANDSCAPES, "dtype": "float32", "reproducible_rows": ROWS}
    tiny = {"dtype": "float32", "default_size": (64, 64)}
    return {
        "prompted": ModelSettings(**own, ip_adapter=files["ip"]),
        "adapted": ModelSettings(**own, t2i_adapter=files["t2i"]),
        "base": ModelSettings(path=files["base"], refiner="refiner", **tiny),
        "refiner": ModelSettings(path=files["refiner"], **tiny),
    }


def loaded_of(said: dict[str, ModelSettings], name: str, home: Path) -> Loaded:
    refiner = Entry("refiner", FOLDER, said["refiner"], home) if said[name].refiner else None
    return load(Entry(name, FOLDER, said[name], home, refiner=refiner), is_offline=True)


@pytest.fixture(scope="module")
def prompted(said: dict[str, ModelSettings], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return loaded_of(said, "prompted", tmp_path_factory.mktemp("home"))


def calls_of(loaded: Loaded, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A request's pipeline, and what to call it with."""
    asked: ImageRequest = validate({**QUICK, **SIZE, **inputs}, loaded.offer())
    pipe = variant_of(loaded, asked.task, asked.solver, **asked.pieces)
    pipe.set_progress_bar_config(disable=True)
    return pipe, {**call_of(pipe, asked), "output_type": "np"}


def pixels(answer: Any) -> np.ndarray:
    return np.asarray(answer.images[0])


TASKS: dict[str, dict[str, Any]] = {
    "text-to-image": {},
    "image-to-image": {"image": START, "strength": 0.5},  # one step of two
    "wholly redrawn": {"image": START, "strength": 1.0},
    "inpaint": {"image": START, "mask_image": HALF},
    "outpaint": {"image": START, "outpaint": {"right": 128}, "width": 320},
}


@pytest.mark.parametrize("task", TASKS)
def test_an_image_prompt_gives_the_picture_of_plain_diffusers_and_leaves_its_neighbours_theirs(
    task: str, prompted: Loaded, by_diffusers: Loaded
) -> None:
    plain, plain_call = calls_of(prompted, TASKS[task])
    pipe, call = calls_of(prompted, {**TASKS[task], "ip_adapter_image": PROMPT, "ip_adapter_scale": 0.6})
    other = {**call, "cross_attention_kwargs": {"ip_adapter_masks": 0.2}}
    with Engine(reproducible=True, fixed_rows=ROWS) as engine:
        engine.add(plain, "plain")
        alone = pixels(engine.submit(model="plain", seed=7, **plain_call).result(60))
        engine.add(pipe, "prompted")
        handles = [
            engine.submit(model=name, seed=7, **given)
            for name, given in (("plain", plain_call), ("prompted", call), ("prompted", other), ("prompted", call))
        ]
        neighbour, made, weaker, again = (pixels(handle.result(60)) for handle in handles)
        counted = engine.stats()["modules"]["prompted.unet"]
    assert counted["batches"] < counted["calls"], "no two scales shared a forward"
    assert neighbour.tobytes() == alone.tobytes()
    assert made.tobytes() == again.tobytes()
    assert np.abs(made - weaker).max() > 1e-3
    assert np.abs(made - neighbour).max() > 1e-3
    by_diffusers.pipe.set_ip_adapter_scale(0.6)
    asked = {name: value for name, value in call.items() if name != "cross_attention_kwargs"}
    own = variant_of(by_diffusers, validate({**QUICK, **SIZE, **TASKS[task]}, prompted.offer()).task, None)
    own.scheduler = pipe.scheduler
    wanted = pixels(own(**asked, generator=torch.Generator().manual_seed(7)))
    assert np.abs(made - wanted).max() < 1e-5


@pytest.fixture(scope="module")
def by_diffusers(prompted: Loaded) -> Loaded:
    """The model with the adapter loaded as diffusers' own documentation says."""
    said = ModelSettings(path=LANDSCAPES, dtype="float32")
    own, adapter = load(Entry("own", FOLDER, said, prompted.entry.home), is_offline=True), prompted.entry.ip_adapter
    assert adapter is not None
    own.pipe.load_ip_adapter(str(adapter.file.parent), subfolder="", weight_name=adapter.file.name)
    return own


def test_an_image_prompt_costs_its_own_weights_only(prompted: Loaded) -> None:
    assert prompted.prompted.unet is not prompted.pipe.unet
    there = {weight.data_ptr() for weight in prompted.pipe.unet.parameters()}
    named = dict(prompted.prompted.unet.named_parameters())
    apart = {name: weight for name, weight in named.items() if weight.data_ptr() not in there}
    before, after = (sum(weights_of(prompted.pipe, *beside).values()) for beside in ((), [prompted.prompted.unet]))
    assert after - before == sum(weight.nbytes for weight in apart.values()) > 0
    assert all("processor" in name or name.startswith("encoder_hid_proj") for name in apart)
    assert prompted.pipe.unet.encoder_hid_proj is None


# ---- The service ----


@pytest.fixture(scope="module")
def site(said: dict[str, ModelSettings], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), models=said, drain_s=0.01) as found:
        yield found


@pytest.fixture(scope="module")
def place(site: Site) -> Place:
    return Place(site.parts.settings.home, site.parts.settings, site.store, site.storage)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def uploaded(site: Site, image: Image.Image) -> str:
    return str(site.http.post("/v1/uploads", content=png(image)).json()["artifact_id"])


def submit(site: Site, model: str, **inputs: Any) -> Any:
    return site.submit({**QUICK, "reproducible": True, **inputs}, model=model)


def made_by(site: Site, job_id: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Pixels, and the settings inside."""
    job = site.job(job_id)
    assert job["state"] == "succeeded", job["errors"]
    image = Image.open(io.BytesIO(site.http.get(job["outputs"][0]["url"]).content))
    return np.asarray(image), json.loads(image.text["darkroom"])  # type: ignore[attr-defined]


def assert_differ(*pictures: np.ndarray) -> None:
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_jobs_are_prompted_by_pictures_and_follow_them(site: Site, place: Place, prompted: Loaded) -> None:
    upload, followed = uploaded(site, PROMPT), uploaded(site, edges())
    jobs = {
        "plain": submit(site, "prompted", **SIZE),
        "prompted": submit(site, "prompted", **SIZE, ip_adapter_image=upload),
        "less": submit(site, "prompted", **SIZE, ip_adapter_image=upload, ip_adapter_scale=0.3),
        "followed": submit(site, "adapted", control_image=followed),
        "not-followed": submit(site, "adapted", **SIZE),
    }
    assert jobs["prompted"]["input"]["ip_adapter_scale"] == 1.0
    with Client(site.url, retries=0) as client:
        sent = client.submit(**QUICK, **SIZE, model="prompted", ip_adapter_image=PROMPT, reproducible=True)
    with working(place, "prompted", "adapted") as running:
        assert running.failures == []
        place.wait(sent.id, *(job["id"] for job in jobs.values()))
    assert any(batch.requests > 1 for batch in running.heard.of(BatchRan) if "prompted" in batch.module)
    found = {name: made_by(site, job["id"]) for name, job in jobs.items()}
    assert_differ(*(found[name][0] for name in ("plain", "prompted", "less")))
    assert_differ(found["followed"][0], found["not-followed"][0])
    assert np.array_equal(found["plain"][0], found["not-followed"][0])
    assert np.array_equal(made_by(site, sent.id)[0], found["prompted"][0])
    settings = found["less"][1]
    assert (settings["ip_adapter_sha256"], settings["revision"]) == (digest(PROMPT), prompted.revision)
    assert settings["input"]["ip_adapter_scale"] == 0.3
    assert "ip_adapter_image" not in settings["input"]


def test_a_drained_job_with_an_image_prompt_goes_on_where_it_was(site: Site, place: Place) -> None:
    asked = {**SIZE, "ip_adapter_image": uploaded(site, PROMPT), "num_inference_steps": 10}
    cut = submit(site, "prompted", **asked)["id"]
    with working(place, "prompted") as first:
        place.until(lambda: place.job(cut).step >= 3)
        first.worker.ask_drain()
        first.join()
    whole = submit(site, "prompted", **asked)["id"]
    with working(place, "prompted", worker_id="w2") as second:
        place.wait(whole, cut)
    assert second.heard.of(AttemptResumed)
    assert np.array_equal(made_by(site, cut)[0], made_by(site, whole)[0])


def test_a_refiner_takes_the_last_steps_of_one_job(
    site: Site, place: Place, said: dict[str, ModelSettings], tmp_path: Path
) -> None:
    asked = {"num_inference_steps": 5, "width": 64, "height": 64}
    plain, refined_job = submit(site, "base", **asked), submit(site, "base", **asked, denoising_end=0.6)
    with working(place, "base") as running:
        assert running.failures == []
        place.wait(plain["id"], refined_job["id"])
    made, settings = made_by(site, refined_job["id"])
    assert settings["input"]["denoising_end"] == 0.6
    assert_differ(made, made_by(site, plain["id"])[0])
    loaded = loaded_of(said, "base", tmp_path)
    call = {"prompt": QUICK["prompt"], "num_inference_steps": 5}
    generator = torch.Generator().manual_seed(7)
    latents = loaded.pipe(
        **call, width=64, height=64, denoising_end=0.6, output_type="latent", generator=generator
    ).images
    wanted = loaded.refiner(**call, image=latents, denoising_start=0.6, generator=generator).images[0]
    assert np.abs(made.astype(int) - np.asarray(wanted)).max() <= 1


def test_margins_are_painted_and_the_picture_is_kept(site: Site, place: Place) -> None:
    upload = uploaded(site, START)
    asked = {"image": upload, "outpaint": {"right": 128}, "num_inference_steps": 4}
    job = submit(site, "prompted", **asked)
    assert job["task"] == "inpaint"
    assert (job["input"]["width"], job["input"]["height"]) == (320, 192)
    assert job["input"]["outpaint"] == {"left": 0, "right": 128, "top": 0, "bottom": 0}
    with working(place, "prompted"):
        place.wait(job["id"])
    made, settings = made_by(site, job["id"])
    assert made.shape == (192, 320, 3)
    off = np.abs(made[:, :192].astype(int) - np.asarray(START)).mean(axis=(0, 2))
    assert off[:128].mean() < 40, "the picture was painted over"
    assert settings["image_sha256"] == digest(START)
    assert "mask_sha256" not in settings


REFUSED: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("adapted", {"ip_adapter_image": "https://127.0.0.1/x.png"}, 501, "ip_adapter_image", "has no IP-Adapter"),
    ("prompted", {"control_image": "https://127.0.0.1/x.png"}, 501, "control_image", "has no ControlNet"),
    ("prompted", {"denoising_end": 0.8}, 501, "denoising_end", "has no refiner"),
    ("base", {"denoising_end": 1.0}, 400, "denoising_end", "from 0.01 to 0.99"),
    ("base", {"denoising_end": 0.1}, 400, "denoising_end", "none of 2 steps"),
    ("prompted", {"ip_adapter_scale": 0.5}, 400, "ip_adapter_image", "needs an ip_adapter_image"),
    ("prompted", {"outpaint": {"right": 64}}, 400, "image", "needs an image to add to"),
]


@pytest.mark.parametrize(("model", "inputs", "status", "field", "words"), REFUSED)
def test_what_a_model_has_no_piece_for_is_refused_by_name(
    site: Site, model: str, inputs: dict[str, Any], status: int, field: str, words: str
) -> None:
    found, error = site.refused("POST", "/v1/jobs", json={"model": model, "input": {**QUICK, **inputs}})
    assert (found, error["field"]) == (status, field)
    assert words in error["message"]


def test_a_t2i_adapter_follows_in_text_to_image_alone(site: Site) -> None:
    upload = uploaded(site, edges())
    body = {"model": "adapted", "input": {**QUICK, "control_image": upload, "image": upload}}
    status, error = site.refused("POST", "/v1/jobs", json=body)
    assert (status, error["field"]) == (501, "control_image")
    assert "no image-to-image with a control image; it has: text-to-image" in error["message"]


def test_a_model_tells_its_pieces_and_the_inputs_that_go_with_them(site: Site) -> None:
    inputs = {"has_controlnet": "control_image", "has_ip_adapter": "ip_adapter_image", "has_refiner": "denoising_end"}
    has = {"prompted": {"has_ip_adapter"}, "adapted": {"has_controlnet"}, "base": {"has_refiner"}, "refiner": set()}
    for model, pieces in has.items():
        said = site.http.get(f"/v1/models/{model}").json()
        assert {piece for piece in inputs if said[piece]} == pieces
        assert {piece for piece, name in inputs.items() if name in said["input"]["properties"]} == pieces
    with Client(site.url, retries=0) as client:
        assert client.model("prompted").has_ip_adapter
        assert client.model("base").has_refiner
        with pytest.raises(NotSupported, match=r"`ip_adapter` in \[models.base\]"):
            client.submit("x", model="base", ip_adapter_image=png(PROMPT))


# ---- The command line ----


def test_the_command_line_uses_a_models_pieces_and_repeats_what_they_made(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "darkroom.toml").write_text(
        f'[models.prompted]\npath = "{LANDSCAPES}"\nip_adapter = "{files["ip"]}"\n'
        f'[models.base]\npath = "{files["base"]}"\nrefiner = "refiner"\n[models.refiner]\npath = "{files["refiner"]}"\n'
    )
    monkeypatch.chdir(tmp_path)
    PROMPT.save("mood.png")
    START.save("start.png")
    threads = torch.get_num_threads()
    command = ["generate", "a red barn", "--steps", "3", "--seed", "7", "--model"]
    mood = ["--ip-adapter-image", "mood.png"]
    try:
        assert (
            run([*command, "prompted", "--size", "192x192", *mood, "--ip-adapter-scale", "0.7", "-o", "one.png"]) == 0
        )
        assert run(["generate", "--like", "one.png", "-o", "no.png"]) == 2
        assert "was prompted by a picture: give that one too [--ip-adapter-image]" in capsys.readouterr().err
        assert run(["generate", "--like", "one.png", *mood, "-o", "two.png"]) == 0
        wide = ["--init-image", "start.png", "--outpaint", "left=64,right=64"]
        assert run([*command, "prompted", *wide, "-o", "wide.png"]) == 0
        assert run(["generate", "--like", "wide.png", "--init-image", "start.png", "-o", "wide-2.png"]) == 0
        assert run([*command, "base", "--size", "64x64", "--denoising-end", "0.7", "-o", "refined.png"]) == 0
        assert run(["generate", "--like", "refined.png", "-o", "refined-2.png"]) == 0
    finally:
        torch.set_num_threads(threads)
    for one, other in (("one", "two"), ("wide", "wide-2"), ("refined", "refined-2")):
        assert (tmp_path / f"{one}.png").read_bytes() == (tmp_path / f"{other}.png").read_bytes()
    assert Image.open("wide.png").size == (320, 192)
    assert read_settings(tmp_path / "wide.png")["input"]["outpaint"]["left"] == 64
    assert run([*command, "prompted", "--init-image", "start.png", "--outpaint", "left"]) == 2
    assert "such as left=64,right=64" in capsys.readouterr().err
    assert run(["models"]) == 0
    said = capsys.readouterr().out
    assert f"IP-Adapter {files['ip']}" in said
    assert "refiner refiner" in said


def test_files_that_do_not_fit_are_refused_before_anything_is_loaded(files: dict[str, Path], tmp_path: Path) -> None:
    def entry(**said: Any) -> Entry:
        return Entry("mine", FOLDER, ModelSettings(path=files["base"], **said), tmp_path)

    for key, name, words in (
        ("ip_adapter", "ip", "cross_attention_dim 128, and the model's has 64"),
        ("t2i_adapter", "t2i", "its channels are"),
    ):
        with pytest.raises(BadInput, match=words) as caught:
            entry(**{key: files[name]}).check()
        assert caught.value.field == key
    with pytest.raises(BadInput, match="no safetensors file"):
        entry(ip_adapter=tmp_path).check()

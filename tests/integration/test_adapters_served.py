"""Jobs with other adapters, several and none, through a gateway and a worker: the pictures of an engine alone."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.engine.engine import Engine
from darkroom.models.catalogue import catalogue
from darkroom.models.device import fix_threads
from darkroom.models.loading import load
from darkroom.models.request import validate
from darkroom.models.tasks import call_of, pipeline_for
from darkroom.storage.images import read_settings
from darkroom.worker.adapting import FOLDER
from darkroom.worker.events import BatchRan
from tests.lora_files import lora, put, weights

from .gateway_site import Site, open_site, picture
from .test_gateway_adapters import register
from .workers import Place, working

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {"prompt": "a red barn", "num_inference_steps": 3, "width": 192, "height": 192, "seed": 7}
MIXES: tuple[Mapping[str, float], ...] = (
    *({}, {"ink": 1.0}, {"chalk": 0.7}),
    *({"ink": 0.5, "chalk": -0.4}, {"pen": 1.0}, {"pen": 0.5, "ink": 1.0}),
)
SEEDS = {"ink": 1, "chalk": 2, "pen": 3}  # pen is registered, the others stand in the settings


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("house")
    files = {name: put(home / f"{name}.safetensors", lora(SEEDS[name])) for name in ("ink", "chalk")}
    with open_site(home, adapters=files) as found:
        yield found


@pytest.fixture(scope="module")
def place(site: Site) -> Place:
    return Place(site.parts.settings.home, site.parts.settings, site.store, site.storage)


def submit(site: Site, adapters: Mapping[str, float], **inputs: Any) -> str:
    return str(site.submit({**QUICK, "adapters": adapters, "reproducible": True, **inputs})["id"])


def picture_of(site: Site, job_id: str) -> Image.Image:
    job = site.job(job_id)
    assert job["state"] == "succeeded", job["errors"]
    image = Image.open(io.BytesIO(site.http.get(job["outputs"][0]["url"]).content))
    image.load()
    return image


def alone(site: Site, folder: Path) -> list[np.ndarray]:
    """Each mix by itself, by an engine that serves nobody else."""
    entry = catalogue(site.parts.settings).find("landscapes")
    loaded, before = load(entry, is_offline=True), torch.get_num_threads()
    request = validate({**QUICK, "adapters": {}}, loaded.offer())
    pipe = pipeline_for(loaded.pipe, request.task, request.solver, "landscapes")
    fix_threads(None, loaded.offer().fixed_rows)
    try:
        with Engine(pipe, reproducible=True, fixed_rows=loaded.offer().fixed_rows) as engine:
            for name, seed in SEEDS.items():
                engine.add_adapter(name, put(folder / f"{name}.safetensors", lora(seed)))
            call = {**call_of(pipe, request), "seed": request.seed}
            return [np.asarray(engine.submit(**call, adapters=dict(mix)).result(300).images[0]) for mix in MIXES]
    finally:
        torch.set_num_threads(before)


def test_a_batch_of_jobs_with_other_adapters_makes_the_pictures_of_an_engine_alone(
    site: Site, place: Place, tmp_path: Path
) -> None:
    made = register(site, "pen", SEEDS["pen"])
    ids = [submit(site, mix) for mix in MIXES]
    with working(place, "landscapes") as running:
        place.wait(*ids)
    batches = [batch for batch in running.heard.of(BatchRan) if batch.kind == "denoise" and batch.requests > 1]
    assert batches, "no two of them shared a forward"
    pictures = [picture_of(site, job_id) for job_id in ids]
    for made_here, wanted, mix in zip(pictures, alone(site, tmp_path), MIXES, strict=True):
        assert np.array_equal(np.asarray(made_here), wanted), mix
    assert len({each.tobytes() for each in pictures}) == len(MIXES)
    assert (place.settings.home / FOLDER / f"{made['digest']}.safetensors").read_bytes() == lora(SEEDS["pen"])


def test_a_picture_says_which_adapters_made_it(site: Site, place: Place, tmp_path: Path) -> None:
    job_id = submit(site, {"ink": 0.5}, num_inference_steps=1)
    with working(place, "landscapes"):
        place.wait(job_id)
    path = put(tmp_path / "x.png", site.http.get(site.job(job_id)["outputs"][0]["url"]).content)
    settings = read_settings(path)
    assert settings["input"]["adapters"] == {"ink": 0.5}
    assert settings["adapter_digests"] == site.job(job_id)["input"]["adapter_digests"]


def test_a_job_whose_adapter_vanished_fails_by_its_name_and_others_go_on(site: Site, place: Place) -> None:
    register(site, "brief", 4)
    lost, fine = submit(site, {"brief": 1}, num_inference_steps=1), submit(site, {}, num_inference_steps=1)
    assert site.http.delete("/v1/adapters/brief").status_code == 204
    with working(place, "landscapes"):
        place.wait(lost, fine)
    job = site.job(lost)
    assert (job["state"], job["error"]["code"], job["attempt"]) == ("failed", "unknown_adapter", 1)
    assert "adapter 'brief' is no longer registered" in job["error"]["message"]
    assert site.job(fine)["state"] == "succeeded"


def test_a_file_for_another_model_fails_its_job_by_name(site: Site, place: Place) -> None:
    shapes = {"unet.conv_in.lora_A.weight": (2, 7, 3, 3), "unet.conv_in.lora_B.weight": (5, 2, 1, 1)}
    artifact_id = site.http.post("/v1/uploads", content=weights(**shapes)).json()["artifact_id"]
    body = {"name": "foreign", "model": "landscapes", "artifact_id": artifact_id}
    assert site.http.post("/v1/adapters", json=body).status_code == 201
    job_id = submit(site, {"foreign": 1}, num_inference_steps=1)
    with working(place, "landscapes"):
        place.wait(job_id)
    error = site.job(job_id)["error"]
    assert error["code"] == "bad_input"
    assert "another model" in error["message"]


def test_the_tasks_and_solvers_of_a_model_share_its_adapters(site: Site, place: Place) -> None:
    start = site.http.post("/v1/uploads", content=picture(192, 192)).json()["artifact_id"]
    mask = site.http.post("/v1/uploads", content=picture(192, 192, colour="white")).json()["artifact_id"]
    asked: tuple[dict[str, Any], ...] = (
        *({}, {"solver": "euler"}, {"image": start, "strength": 0.8}),
        {"image": start, "mask_image": mask, "strength": 0.8},
    )
    pairs = [(submit(site, {"ink": 1}, **more), submit(site, {}, **more)) for more in asked]
    with working(place, "landscapes"):
        place.wait(*(job_id for pair in pairs for job_id in pair))
    for with_ink, without in pairs:
        assert picture_of(site, with_ink).tobytes() != picture_of(site, without).tobytes()

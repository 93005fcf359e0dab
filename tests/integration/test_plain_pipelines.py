"""Plain pipelines at the door, in a worker, on the command line and through a whole service."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from PIL import Image

from darkroom.cli import run
from darkroom.config import SafetySettings
from darkroom.core import Job, JobState
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits
from darkroom.model_settings import ModelSettings
from darkroom.models.catalogue import catalogue
from darkroom.storage.images import read_settings
from darkroom.storage.objects import open_storage
from darkroom.worker.events import BatchRan
from tests.parity.tiny_checker import ALWAYS, save
from tests.unit.worker.jobs import new_job

from .gateway_site import Site, open_site, picture, settings_in
from .gateway_site import running as serving
from .service import served
from .workers import LANDSCAPES, Place, Running, place, working

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # the libraries' own, at loading

EXAMPLE = Path(__file__).parents[2] / "examples" / "product_shot"
SHOTS = '''
import darkroom
from PIL import Image

FEW = {"num_inference_steps": 3, "height": 192, "width": 192, "solver": "dpm++2m"}


@darkroom.pipeline(models=["landscapes"], calls=2)
def twice(run, prompt: str, background: str = "a lake", image: Image.Image | None = None, seed: int = 0):
    """Two pictures, one over the other."""
    first = image or run("landscapes", prompt=prompt, seed=seed, **FEW).images[0]
    return run("landscapes", prompt=background, image=first.resize((192, 192)), seed=seed, **FEW).images[0]


@darkroom.pipeline(models=["landscapes"])
def handed(run, prompt: str, denoising_end: float = 0.5):
    """An input of its own that has the name of a piece's."""
    return run("landscapes", prompt=prompt, **FEW).images[0]


@darkroom.pipeline(models=["landscapes"])
def broken(run, prompt: str):
    run("landscapes", prompt=prompt, **FEW)
    return {}["shelf"]


@darkroom.pipeline(models=["landscapes"], calls=40)
def long(run, prompt: str):
    for _ in range(40):
        made = run("landscapes", prompt=prompt, **FEW).images[0]
    return made
'''
TABLES = "".join(f'[models.{name}]\npipeline = "shots:{name}"\n' for name in ("twice", "broken", "long"))


def write_shots(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shots.py").write_text(SHOTS)
    return folder / "shots.py"


# The door.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("door")
    file = write_shots(home)
    models = {name: ModelSettings(pipeline=f"{file}:{name}") for name in ("twice", "handed")}
    with open_site(home, models=models) as made:
        yield made


def test_a_model_says_what_its_function_takes(site: Site) -> None:
    said = site.http.get("/v1/models/twice").json()
    assert (said["tasks"], said["presets"], said["solvers"], said["problem"]) == (["pipeline"], {}, [], None)
    assert said["input"]["required"] == ["prompt"]
    assert said["input"]["description"] == "Two pictures, one over the other."
    own = {"prompt", "background", "image"}
    assert set(said["input"]["properties"]) == own | {"seed", "num_images_per_prompt", "reproducible"}
    assert said["input"]["properties"]["background"]["default"] == "a lake"
    assert len(said["revision"]) == 64
    assert {model["id"] for model in site.http.get("/v1/models").json()["data"]} == {"landscapes", "twice", "handed"}


def test_an_input_of_its_own_may_have_the_name_of_one_that_others_need_a_piece_for(site: Site) -> None:
    asked = {"prompt": "a barn", "denoising_end": 0.8}
    answer = site.http.post("/v1/jobs", json={"model": "handed", "input": asked})
    assert (answer.status_code, answer.json()["input"]["denoising_end"]) == (202, 0.8)


def test_a_picture_of_a_refused_job_is_not_kept(site: Site) -> None:
    before = site.http.get("/v1/jobs").json()["data"]
    url = "data:image/png;base64," + base64.b64encode(picture()).decode()
    asked = {"model": "landscapes", "input": {"prompt": "a barn", "image": url}, "output": {"format": "mp4"}}
    files = sorted(path for path in (site.parts.settings.home / "artifacts").rglob("*") if path.is_file())
    answer = site.http.post("/v1/jobs", json=asked)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "output.format")
    assert sorted(path for path in (site.parts.settings.home / "artifacts").rglob("*") if path.is_file()) == files
    assert site.http.get("/v1/jobs").json()["data"] == before


def test_an_accepted_job_lacks_nothing(site: Site) -> None:
    artifact = site.http.post("/v1/uploads", content=picture()).json()["artifact_id"]
    answer = site.http.post("/v1/jobs", json={"model": "twice", "input": {"prompt": "a barn", "image": artifact}})
    job = answer.json()
    assert (answer.status_code, job["task"]) == (202, "pipeline")
    seed = job["input"].pop("seed")
    assert isinstance(seed, int)
    assert job["input"] == {
        "prompt": "a barn",
        "background": "a lake",
        "image": artifact,
        "num_images_per_prompt": 1,
        "reproducible": False,
    }


@pytest.mark.parametrize(
    ("inputs", "code", "field"),
    [
        ({"prompt": "x", "backgrund": "y"}, "unknown_argument", "backgrund"),
        ({"prompt": "x", "num_inference_steps": 5}, "unknown_argument", "num_inference_steps"),
        ({"prompt": "x", "background": 5}, "bad_input", "background"),
        ({"prompt": "x", "background": ["y"]}, "bad_input", "background"),
        ({"background": "x"}, "bad_input", "prompt"),
        ({"prompt": "x", "image": "art-000000000000000000000000"}, "bad_input", "image"),
        ({"prompt": "x", "seed": -1}, "bad_input", "seed"),
        ({"prompt": "x", "num_images_per_prompt": 17}, "bad_input", "num_images_per_prompt"),
    ],
)
def test_bad_input_is_refused_at_the_door_with_its_field(
    site: Site, inputs: dict[str, Any], code: str, field: str
) -> None:
    status, error = site.refused("POST", "/v1/jobs", json={"model": "twice", "input": inputs})
    assert (status, error["code"], error["field"]) == (400, code, field)


def test_each_of_its_texts_is_held_against_the_rules_for_prompts(tmp_path: Path) -> None:
    file, rules = write_shots(tmp_path), tmp_path / "rules.toml"
    rules.write_text('[models.landscapes]\nwords = ["wolf"]\n')
    models = {"twice": ModelSettings(pipeline=f"{file}:twice")}
    settings = settings_in(tmp_path).model_copy(update={"safety": SafetySettings(rules=rules), "models": models})
    with closing(open_store(settings.store_url, Limits())) as store:
        made = build_app(Parts(settings, store, open_storage(settings.storage_url), catalogue(settings)))
        with serving(made) as url, httpx.Client(base_url=url) as client:
            body = {"model": "twice", "input": {"prompt": "a lake", "background": "a WOLF"}}
            error = client.post("/v1/jobs", json=body).json()["error"]
    assert (error["code"], error["field"]) == ("content_refused", "background")


# A worker.


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("plain")
    write_shots(folder)
    with place(folder, "preview_every = 0\nheartbeat_s = 0.2\ntape_every = 1", head=TABLES) as made:
        yield made


@pytest.fixture(scope="module")
def running(at: Place) -> Iterator[Running]:
    with working(at) as made:
        yield made


def submit(at: Place, model: str, **inputs: Any) -> str:
    """A job as the door makes one."""
    at.count += 1
    usual, now = new_job(f"plain-{at.count}", now=time.time()), time.time()
    given = {"prompt": "a red barn", "seed": 7, **inputs}
    job = replace(usual, model=model, task="text-to-image" if model == "landscapes" else "pipeline", input=given)
    (made,) = at.store.insert([job], now)
    assert isinstance(made, Job)
    return made.id


def picture_of(at: Place, job: Job) -> Image.Image:
    assert job.state == JobState.SUCCEEDED, job.errors
    image = Image.open(io.BytesIO(at.storage.get(job.outputs[0].key)))
    image.load()
    return image


def test_its_jobs_share_forwards_with_those_of_the_model_that_it_calls(at: Place, running: Running) -> None:
    usual = {"num_inference_steps": 12, "width": 192, "height": 192, "solver": "dpm++2m"}
    jobs = [submit(at, "twice", background="hills"), submit(at, "landscapes", **usual), submit(at, "twice", seed=8)]
    ended = at.wait(*jobs)
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 3, [job.errors for job in ended]
    assert [(job.step, job.steps) for job in ended if job.model == "twice"] == [(5, 5)] * 2  # the second at 0.8
    assert max(batch.requests for batch in running.heard.of(BatchRan) if batch.kind == "denoise") > 1


def test_a_picture_says_with_what_it_was_made(at: Place, running: Running) -> None:
    (job,) = at.wait(submit(at, "twice", background="hills", num_images_per_prompt=2))
    assert [artifact.seed for artifact in job.outputs] == [7, 8]
    said = json.loads(picture_of(at, job).text["darkroom"])  # type: ignore[attr-defined]
    assert (said["model"], said["task"]) == ("twice", "pipeline")
    assert said["input"] == {"prompt": "a red barn", "background": "hills", "seed": 7}


def test_a_picture_is_handed_to_the_function(at: Place, running: Running) -> None:
    uploaded = at.upload("art-given", picture(192, 192, colour="black"))
    with_it, without = at.wait(submit(at, "twice", image=uploaded), submit(at, "twice"))
    assert picture_of(at, with_it).tobytes() != picture_of(at, without).tobytes()
    assert with_it.steps == 4  # one call of two, the other being spared


def test_what_its_function_raises_fails_its_job_alone_and_by_name(at: Place, running: Running) -> None:
    bad, good = at.wait(submit(at, "broken"), submit(at, "twice"))
    assert (bad.state, good.state) == (JobState.FAILED, JobState.SUCCEEDED)
    error = bad.errors[-1]
    assert (error["code"], bad.attempt) == ("pipeline_failed", 1)
    line = SHOTS[: SHOTS.index('{}["shelf"]')].count("\n") + 1
    assert error["message"] == f"in broken, line {line} of shots.py: KeyError: 'shelf'"


def test_cancelled_between_its_calls_it_ends_within_a_step(at: Place, running: Running) -> None:
    job_id = submit(at, "long")
    at.until(lambda: at.job(job_id).step >= 4)  # in its second call
    seen = at.job(job_id).step
    at.store.cancel(job_id, time.time())
    (job,) = at.wait(job_id)
    assert job.state == JobState.CANCELLED
    assert seen <= job.step < 120


def test_a_drained_job_goes_on_from_its_tape_on_another_worker(tmp_path: Path) -> None:
    write_shots(tmp_path)
    with place(tmp_path, "drain_s = 0.01\npreview_every = 0", head=TABLES) as at:
        with working(at) as first:
            whole = at.wait(submit(at, "twice", reproducible=True))[0]
            job_id = submit(at, "twice", reproducible=True)
            at.until(lambda: at.job(job_id).step >= 3 or at.job(job_id).is_final)
            first.worker.ask_drain()
            first.join()
        assert at.job(job_id).state == JobState.QUEUED
        with working(at, worker_id="w2"):
            (job,) = at.wait(job_id)
        assert job.metrics["resumed_from_step"] >= 3
        assert picture_of(at, job).tobytes() == picture_of(at, whole).tobytes()


def test_a_file_that_cannot_be_imported_fails_its_jobs_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        f"import nowhere_at_all\n{SHOTS}\n",
    )
    with place(tmp_path, head='[models.twice]\npipeline = "bad:twice"') as at, working(at):
        bad, good = at.wait(submit(at, "twice"), submit(at, "landscapes", num_inference_steps=2, width=192, height=192))
    assert (bad.errors[-1]["code"], good.state) == ("invalid_config", JobState.SUCCEEDED)
    assert "nowhere_at_all" in bad.errors[-1]["message"]


def test_what_it_hands_out_is_checked_where_a_model_that_it_calls_has_a_checker(tmp_path: Path) -> None:
    checker = save(tmp_path / "checker", ALWAYS)
    (tmp_path / "shots.py").write_text(SHOTS.replace('"landscapes"', '"checked"'))
    tables = f'[models.checked]\npath = "{LANDSCAPES}"\nsafety_checker = "{checker}"\n{TABLES}'
    with place(tmp_path, "preview_every = 0", head=tables) as at, working(at, "twice"):
        (job,) = at.wait(submit(at, "twice"))
    assert (job.state, job.errors[-1]["code"], list(job.outputs)) == (JobState.FAILED, "content_refused", [])


# The command line.


def test_the_command_line_makes_and_repeats_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_shots(tmp_path)
    (tmp_path / "darkroom.toml").write_text(TABLES)
    monkeypatch.chdir(tmp_path)
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, os.environ.get(name, "error"))
    threads = torch.get_num_threads()
    try:
        make = ("generate", "a red barn", "--model", "twice", "--seed", "3", "-o", "a.png")
        assert run([*make, "--input", "background=stars"]) == 0
        assert "a.png  192x192  seed 3" in capsys.readouterr().out
        assert run(["generate", "--like", "a.png", "-o", "b.png"]) == 0
        assert "warning" not in capsys.readouterr().err
        assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
        for flags, said in (
            (["--input", "backgrund=stars"], "did you mean"),
            (["--input", "stars"], "--input"),
            (["--steps", "3"], "--steps"),
        ):
            assert run([*make, *flags]) == 2
            assert said in capsys.readouterr().err
        assert run(["generate", "x", "--input", "background=stars"]) == 2
        assert run(["models"]) == 0
        assert f"plain     {read_settings(Path('a.png'))['revision'][:12]}" in capsys.readouterr().out
    finally:
        torch.set_num_threads(threads)


# A whole service.


@pytest.mark.slow
def test_the_example_is_served_by_every_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in ("darkroom.toml", "shots.py"):
        shutil.copy(EXAMPLE / file, tmp_path)
    with served(tmp_path) as service:
        inputs = {"prompt": "a cottage", "num_inference_steps": 4, "keep": 0.4, "seed": 7}
        answer = service.ask("POST", "/jobs", json={"model": "product-shot", "input": inputs})
        assert answer.status_code == 202, answer.text
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="anything", max_retries=0) as client:
            made = client.images.generate(model="product-shot", prompt="a cottage", extra_body={"steps": 4})
        assert Image.open(io.BytesIO(base64.b64decode(str((made.data or [])[0].b64_json)))).size == (512, 512)
        monkeypatch.setenv("DARKROOM_URL", service.url)
        flags = ["--model", "product-shot", "--steps", "4", "--seed", "7", "--input", "keep=0.4", "-o", "shot.png"]
        monkeypatch.chdir(tmp_path)
        assert run(["submit", "a cottage", *flags]) == 0
        assert Image.open("shot.png").size == (512, 512)
        job = service.ask("GET", f"/jobs/{answer.json()['id']}").json()
        assert (job["state"], job["outputs"][0]["width"]) == ("succeeded", 512)

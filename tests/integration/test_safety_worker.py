"""After the image: what a checker refuses ends the job, and nothing of it is kept or shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from darkroom.cli import run
from darkroom.core import Job, JobState
from darkroom.storage.objects import prefix_for_outputs
from darkroom.worker.events import BatchRan
from tests.parity.tiny_checker import ALWAYS, NEVER, save

from .workers import LANDSCAPES, Place, place, working

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

MODELS = """
[models.strict]
path = "{model}"
safety_checker = "always"
[models.lenient]
path = "{model}"
safety_checker = "never"
[safety]
rules = "rules.toml"
"""
RULES = "[tenants.staff]\ncheck_images = false\n[tenants.school]\ncheck_images = true\n"


ASKED: dict[str, dict[str, Any]] = {
    "strict": {"model": "strict"},
    "two": {"model": "strict", "num_images_per_prompt": 2},
    "lenient": {"model": "lenient"},
    "staff": {"model": "strict", "tenant": "staff"},
    "school": {"model": "landscapes", "tenant": "school"},
    "landscapes": {"model": "landscapes"},
}


@dataclass(frozen=True)
class Made:
    """What became of the jobs by name, and the batches that ran."""

    at: Place
    jobs: dict[str, Job]
    modules: set[str]

    def picture(self, name: str) -> np.ndarray:
        (artifact,) = self.jobs[name].outputs
        return np.asarray(Image.open(io.BytesIO(self.at.storage.get(artifact.key))))

    def events(self, name: str) -> set[str]:
        return {event.type for event in self.at.store.events(self.jobs[name].id, 0)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("house")
    save(folder / "always", ALWAYS)
    save(folder / "never", NEVER)
    (folder / "rules.toml").write_text(RULES)
    head = MODELS.format(model=LANDSCAPES)
    with place(folder, "preview_every = 1", head=head) as at, working(at, wait_ready=False) as running:
        jobs = at.wait(*at.submit_all(list(ASKED.values())))
        modules = {event.module for event in running.heard.of(BatchRan)}
        yield Made(at, dict(zip(ASKED, jobs, strict=True)), modules)


@pytest.mark.parametrize("name", ["strict", "two"])
def test_a_refused_picture_fails_its_job_and_nothing_of_it_is_kept(made: Made, name: str) -> None:
    job = made.jobs[name]
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert (job.error["code"], job.attempt) == ("content_refused", 1)
    assert job.outputs == ()
    assert list(made.at.storage.list(prefix_for_outputs(job.id))) == []
    assert not {"preview", "output"} & made.events(name)


def test_what_the_checker_lets_pass_is_made_and_never_previewed(made: Made) -> None:
    assert made.jobs["lenient"].state == JobState.SUCCEEDED
    assert "preview" not in made.events("lenient")
    assert any(module.endswith("safety_checker.vision_model") for module in made.modules)


def test_a_tenant_that_is_not_checked_gets_the_picture_itself(made: Made) -> None:
    assert made.jobs["staff"].state == JobState.SUCCEEDED
    assert made.picture("staff").any(), "no black square"
    assert np.abs(made.picture("staff").astype(int) - made.picture("lenient")).max() <= 1
    assert "preview" in made.events("staff")


def test_a_check_that_is_demanded_and_cannot_be_made_fails_the_job(made: Made) -> None:
    school = made.jobs["school"]
    assert (school.state, made.jobs["landscapes"].state) == (JobState.FAILED, JobState.SUCCEEDED)
    assert school.error is not None
    assert school.error["code"] == "invalid_config"


@pytest.mark.parametrize(("is_checked", "code"), [("true", 1), ("false", 0)])
def test_the_command_line_writes_no_black_square_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_checked: str, code: int
) -> None:
    save(tmp_path / "always", ALWAYS)
    model = f'[models.strict]\npath = "{LANDSCAPES}"\nsafety_checker = "always"\n'
    (tmp_path / "darkroom.toml").write_text(f"{model}[safety]\ncheck_images = {is_checked}\n")
    monkeypatch.chdir(tmp_path)
    command = ["generate", "a red barn", "--model", "strict", "--steps", "2", "--size", "192x192", "-o", "barn.png"]
    threads = torch.get_num_threads()
    try:
        assert run(command) == code
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "barn.png").exists() is (code == 0)
    assert ("the safety checker refuses" in capsys.readouterr().err) is (code == 1)

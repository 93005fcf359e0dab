"""What `darkroom export` writes: that it holds what runs, and that Darkroom reads its settings back as they were."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom import config
from darkroom.cli import run
from darkroom.integrations.triton.repository import TENSORS
from darkroom.models.catalogue import BUNDLED_FOLDER, Entry, catalogue
from darkroom.models.layout import read_layout
from darkroom.models.offer import offer_of

LANDSCAPES = BUNDLED_FOLDER / "landscapes"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def served_by(folder: Path) -> Entry:
    """The one model of an exported darkroom.toml, as what runs there finds it."""
    settings = config.load(folder / "darkroom.toml")
    [name] = settings.serve.models
    return catalogue(settings).find(name)


def unpacked(archive: Path, into: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(into)
    return into


def test_an_archive_names_files_that_are_in_it(here: Path) -> None:
    assert run(["export", "torchserve", "landscapes"]) == 0
    folder = unpacked(here / "model-store" / "landscapes.mar", here / "unpacked")
    model = json.loads((folder / "MAR-INF" / "MANIFEST.json").read_bytes())["model"]
    assert model["modelName"] == "landscapes"
    assert (folder / model["handler"]).is_file()
    assert "asyncCommunication: true" in (folder / model["configFile"]).read_text()
    assert served_by(folder).folder == LANDSCAPES


def test_the_same_model_gives_the_same_archive(here: Path) -> None:
    for name in ("one", "two"):
        assert run(["export", "torchserve", "landscapes", "-o", name, "--with-weights"]) == 0
    one, two = ((here / name / "landscapes.mar").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_repository_names_every_input_that_its_model_takes(here: Path) -> None:
    assert run(["export", "triton", "landscapes", "--name", "Lake.2"]) == 0
    folder = here / "model-repository" / "Lake.2"
    said = (folder / "config.pbtxt").read_text()
    assert 'name: "Lake.2"' in said
    assert said.count("optional: true") == len(TENSORS) - 1
    assert (folder / "1" / "model.py").is_file()
    assert served_by(folder / "1").name == "landscapes"


@pytest.mark.parametrize("asked", [[], ["--instances", "2"]])
def test_as_many_processes_hold_the_model_as_were_asked_for(here: Path, asked: list[str]) -> None:
    count = int(asked[-1]) if asked else 1
    assert run(["export", "torchserve", "landscapes", *asked]) == 0
    folder = unpacked(here / "model-store" / "landscapes.mar", here / "unpacked")
    said = (folder / "model-config.yaml").read_text().splitlines()
    assert {f"minWorkers: {count}", f"maxWorkers: {count}"} <= set(said)
    assert run(["export", "triton", "landscapes", *asked]) == 0
    said = (here / "model-repository" / "landscapes" / "config.pbtxt").read_text().splitlines()
    assert f"instance_group [ {{ kind: KIND_AUTO count: {count} }} ]" in said


def test_settings_of_a_model_come_with_it(here: Path) -> None:
    (here / "darkroom.toml").write_text(
        f"""
threads = 1
[models.poster]
path = "{LANDSCAPES}"
default_size = [192, 192]
presets.draft = {{ num_inference_steps = 3, solver = "euler" }}
[adapters.ink]
path = "ink.safetensors"
model = "poster"
[safety]
check_images = false
[serve]
max_queued = 7
"""
    )
    assert run(["export", "triton", "poster"]) == 0
    said = config.load(here / "model-repository" / "poster" / "1" / "darkroom.toml")
    entry = catalogue(said).entries["poster"]
    offer = offer_of(entry, read_layout(LANDSCAPES))
    assert (offer.default_size, offer.presets["draft"].solver) == ((192, 192), "euler")
    assert entry.adapters["ink"].place == here / "ink.safetensors"
    assert (said.threads, said.serve.max_queued, said.safety.check_images) == (1, 7, False)
    assert said.home == here / ".darkroom"


@pytest.mark.parametrize("is_carried", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        'path = "HERE/model"\ncontrolnet = "HERE/control"',
        'path = "HERE/model"\nt2i_adapter = "HERE/t2i"\nip_adapter = "HERE/ip.safetensors"',
        'path = "HERE/model"\nrefiner = "other"\nstep_cache = 0.1',
        'path = "HERE/model"\nsafety_checker = "HERE/model/vae"',
        'path = "HERE/model"\ncompile = true\nchannels_last = true\noffload = "model"\ndevices = { vae = "cuda:0" }',
        'file = "HERE/model/unet/diffusion_pytorch_model.safetensors"\nconfig = "HERE/model"',
    ],
)
def test_whatever_a_model_says_its_export_is_one_model_that_starts(here: Path, said: str, is_carried: bool) -> None:
    shutil.copytree(LANDSCAPES, here / "model")
    (here / "darkroom.toml").write_text(
        f'[models.mine]\n{said}\n[models.other]\npath = "HERE/model"\n'.replace("HERE", str(here))
    )
    carried = ["--with-weights"] if is_carried else []
    assert run(["export", "triton", "mine", *carried]) == 0
    shutil.move(here / "model-repository", here / "elsewhere")
    if is_carried:
        shutil.rmtree(here / "model")
    entry = served_by(here / "elsewhere" / "mine" / "1")
    entry.check()
    assert entry.refiner is None
    assert entry.settings.compile == ("compile" in said)
    if is_carried:
        place = str(here / "elsewhere")
        text = (here / "elsewhere" / "mine" / "1" / "darkroom.toml").read_text()
        assert str(here) not in text
        checker = entry.settings.safety_checker
        assert checker is None or (str(checker).startswith(place) and (checker / "config.json").is_file())


def test_what_an_export_goes_without_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "darkroom.toml").write_text(f'[models.mine]\npath = "{LANDSCAPES}"\nip_adapter = "ip.safetensors"\n')
    assert run(["export", "torchserve", "mine"]) == 0
    assert "left out, for no request there can ask for it: ip_adapter" in capsys.readouterr().err


def test_with_weights_it_can_be_carried_elsewhere(here: Path) -> None:
    shutil.copytree(LANDSCAPES, here / "My Model")
    for model in ("landscapes", "My Model"):
        assert run(["export", "triton", model, "--with-weights"]) == 0
    shutil.rmtree(here / "My Model")
    shutil.move(here / "model-repository", here / "elsewhere")
    shipped, own = (served_by(here / "elsewhere" / name / "1") for name in ("landscapes", "my-model"))
    before = catalogue(config.load()).find("landscapes")
    assert shipped.revision() == own.revision() == before.revision()
    offered = offer_of(before, read_layout(LANDSCAPES))
    assert offer_of(shipped, read_layout(LANDSCAPES)) == replace(offered, adapters=shipped.adapters)
    digests = {name: adapter.facts().digest for name, adapter in shipped.adapters.items()}
    assert digests == {name: adapter.facts().digest for name, adapter in before.adapters.items()}
    assert str(here / "My Model") not in (here / "elsewhere" / "my-model" / "1" / "darkroom.toml").read_text()


def test_a_model_of_the_hub_is_fetched_where_it_runs_and_must_be_here_to_be_carried(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "darkroom.toml").write_text('[models.far]\nhub = "somebody/far"\nrevision = "v1"\n')
    assert run(["export", "torchserve", "far"]) == 0
    entry = served_by(unpacked(here / "model-store" / "far.mar", here / "unpacked"))
    assert (entry.settings.hub, entry.settings.revision) == ("somebody/far", "v1")
    assert run(["export", "torchserve", "far", "--with-weights"]) == 2
    assert "is not downloaded yet" in capsys.readouterr().err


def test_an_export_replaces_what_was_exported_and_nothing_else(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "triton", "landscapes", "--with-weights"]) == 0
    assert run(["export", "triton", "landscapes"]) == 0
    folder = here / "model-repository" / "landscapes"
    assert sorted(path.name for path in (folder / "1").iterdir()) == ["darkroom.toml", "model.py"]
    assert [path.name for path in folder.parent.iterdir()] == ["landscapes"]
    (folder / "1" / "darkroom.toml").unlink()
    assert run(["export", "triton", "landscapes"]) == 2
    assert "was not exported" in capsys.readouterr().err
    assert (folder / "1" / "model.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["landscapes", "--name", "a/b"], 2, "name must have letters"),
        (["landscapez"], 2, "there is no model 'landscapez'"),
        (["there"], 2, "another Darkroom"),
        (["both", "--with-weights"], 2, "both is a function over other models"),
        (
            ["spread"],
            2,
            "models.spread.devices.vae: these servers show a model one device, as cuda:0, and this is cuda:1",
        ),
    ],
)
@pytest.mark.parametrize("server", ["torchserve", "triton"])
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], server: str, arguments: list[str], code: int, words: str
) -> None:
    (here / "darkroom.toml").write_text(
        f"""
[models.there]
remote = "http://127.0.0.1:9"
[models.both]
pipeline = "ours:both"
[models.spread]
path = "{LANDSCAPES}"
devices = {{ vae = "cuda:1" }}
"""
    )
    assert run(["export", server, *arguments]) == code
    assert words in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["darkroom.toml"]


def test_a_program_is_told_the_path(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "torchserve", "landscapes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(here / "model-store" / "landscapes.mar")}

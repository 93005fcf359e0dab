"""The catalogue: what ships is there, darkroom.toml adds to it, and a revision names what a model is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darkroom.config import ModelSettings, Settings
from darkroom.errors import MissingWeights, UnknownModel
from darkroom.models import revision
from darkroom.models.catalogue import BUNDLED, Entry, catalogue, problem_of
from tests.unit.models.conftest import LANDSCAPES, entry_at, replace


def settings(home: Path, **models: ModelSettings) -> Settings:
    return Settings(
        home=home, config_file=None, offline=True, default_model="landscapes", threads=None, models=dict(models)
    )


def test_landscapes_ships_and_is_the_default(tmp_path: Path) -> None:
    entry = catalogue(settings(tmp_path)).find(None)
    assert (entry.name, entry.source) == ("landscapes", BUNDLED)
    assert problem_of(entry) is None


def test_what_ships_is_no_larger_than_was_promised() -> None:
    """docs/decisions/0002-a-model-ships.md: every clone and every wheel carries it."""
    assert sum(file.stat().st_size for file in LANDSCAPES.rglob("*") if file.is_file()) <= 45_000_000


def test_the_file_adds_models_of_every_kind(tmp_path: Path) -> None:
    models = catalogue(
        settings(
            tmp_path,
            a=ModelSettings(path=LANDSCAPES),
            b=ModelSettings(hub="some/model", revision="abc"),
            c=ModelSettings(file=tmp_path / "c.safetensors"),
        )
    )
    assert {name: entry.source for name, entry in models.entries.items()} == {
        "landscapes": "bundled",
        "a": "folder",
        "b": "hub",
        "c": "file",
    }
    assert models.find("b").origin == "some/model@abc"


def test_the_file_may_put_a_model_in_the_place_of_one_that_ships(tmp_path: Path) -> None:
    models = catalogue(settings(tmp_path, landscapes=ModelSettings(path=tmp_path)))
    assert models.find("landscapes").source == "folder"


def test_a_path_is_a_model_too(tmp_path: Path) -> None:
    assert catalogue(settings(tmp_path)).find(str(LANDSCAPES)).folder == LANDSCAPES


@pytest.mark.parametrize("name", ["nowhere", "", "/nowhere/at/all"])
def test_an_unknown_name_is_refused_with_those_there_are(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="there are: landscapes") as caught:
        catalogue(settings(tmp_path)).find(name)
    assert caught.value.field == "model"


def test_a_hub_model_that_is_not_downloaded_says_so(tmp_path: Path) -> None:
    entry = Entry("b", "hub", ModelSettings(hub="some/model-that-is-not-here"), tmp_path)
    with pytest.raises(MissingWeights, match="not downloaded yet"):
        entry.check()


def test_the_revision_is_that_of_the_contents_wherever_they_lie(entry: Entry, folder: Path) -> None:
    assert entry_at(folder).revision() == entry.revision()


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json"])
def test_the_revision_changes_with_what_decides_the_pixels(name: str, entry: Entry, folder: Path) -> None:
    replace(folder / name, (folder / name).read_bytes() + b"\n")
    assert entry_at(folder).revision() != entry.revision()


def test_the_revision_changes_with_one_bit_of_the_weights(entry: Entry, folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    replace(path, bytes(content))
    assert entry_at(folder).revision() != entry.revision()


def test_the_revision_does_not_follow_presets_and_notes(entry: Entry, folder: Path) -> None:
    replace(folder / "presets.json", b"{}")
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "README.md").write_text("words")
    assert entry_at(folder).revision() == entry.revision()


def test_hashes_are_kept_and_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "w"
    path.write_bytes(b"one")
    first = revision.revision_of({"w": path}, home)
    assert (home / revision.CACHE_NAME).exists()
    (home / revision.CACHE_NAME).write_text((home / revision.CACHE_NAME).read_text().replace('": "', '": "x'))
    assert revision.revision_of({"w": path}, home) != first, "what is kept was not used"
    path.write_bytes(b"three")
    assert revision.revision_of({"w": path}, home) not in (first, None)
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    assert revision.revision_of({"w": path}, home) == first


def test_a_damaged_cache_and_a_home_that_cannot_be_written_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"one")
    expected = revision.revision_of({"w": path}, tmp_path / "home")
    (tmp_path / "home" / revision.CACHE_NAME).write_text("{")
    assert revision.revision_of({"w": path}, tmp_path / "home") == expected
    assert revision.revision_of({"w": path}, path / "no-folder") == expected


def test_listing_needs_no_torch(tmp_path: Path) -> None:
    shutil.copy(LANDSCAPES / "model_index.json", tmp_path)
    code = (
        "import sys; sys.modules.update(torch=None, diffusers=None, transformers=None)\n"
        "from darkroom.cli import run\n"
        "raise SystemExit(run(['models', 'list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "landscapes" in done.stdout

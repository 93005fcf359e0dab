"""The bundled model's entry and offer, and folders that differ from it in one thing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from darkroom.config import ModelSettings
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, FOLDER, Entry
from darkroom.models.layout import read_layout
from darkroom.models.offer import Offer, offer_of

LANDSCAPES = BUNDLED_FOLDER / "landscapes"


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return Entry("landscapes", BUNDLED, ModelSettings(path=LANDSCAPES), tmp_path / "home")


@pytest.fixture(scope="session")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Offer:
    home = tmp_path_factory.mktemp("home")
    return offer_of(Entry("landscapes", BUNDLED, ModelSettings(path=LANDSCAPES), home), read_layout(LANDSCAPES))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the bundled model whose files are links: replace one (unlink, write), never write into it."""
    return Path(shutil.copytree(LANDSCAPES, tmp_path / "model", copy_function=os.symlink))


def entry_at(folder: Path, **said: object) -> Entry:
    """An entry for a folder; keys as in darkroom.toml."""
    return Entry("mine", FOLDER, ModelSettings.model_validate({"path": folder, **said}), folder.parent / "home")


def replace(path: Path, content: bytes) -> None:
    """Put other bytes in a link's place."""
    path.unlink()
    path.write_bytes(content)

"""Files are read into the page cache as a load begins: the same weights, and never more than there is room for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from darkroom.config import ModelSettings
from darkroom.models import read_ahead
from darkroom.models.catalogue import FILE, Entry
from darkroom.models.loading import load
from tests.unit.models.conftest import entry_at

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="there is no posix_fadvise here")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes that the kernel was asked to read, by the file's real path."""
    told: dict[str, int] = {}

    def advise(number: int, at: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        name = os.readlink(f"/proc/self/fd/{number}")
        assert at == told.get(name, 0), "from its beginning to its end"
        told[name] = at + length

    monkeypatch.setattr(os, "posix_fadvise", advise)
    return told


def begin(entry: Entry) -> bool:
    thread = read_ahead.begin(entry)
    if thread is not None:
        thread.join()
    return thread is not None


def weights_of(entry: Entry) -> dict[str, torch.Tensor]:
    parts = load(entry, is_offline=True).pipe.components.items()
    modules = {part: module for part, module in parts if isinstance(module, torch.nn.Module)}
    return {
        f"{part}.{name}": weight for part, module in modules.items() for name, weight in module.state_dict().items()
    }


def test_weights_are_the_same_with_and_without(folder: Path) -> None:
    one, other = (weights_of(entry_at(folder, read_ahead=said)) for said in (True, False))
    assert one
    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("said", [True, False])
def test_the_setting_turns_it_off(said: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(read_ahead, "begin", begun.append)
    load(entry_at(folder, read_ahead=said), is_offline=True)
    assert len(begun) == said


def test_every_file_of_weights_is_asked_for_whole(folder: Path, asked: dict[str, int]) -> None:
    assert begin(entry_at(folder))
    files = [file.resolve() for file in folder.glob("*/*.safetensors")]
    assert asked.keys() == {str(file) for file in files}
    assert all(asked[str(file)] >= file.stat().st_size for file in files)


def test_of_two_variants_only_the_one_that_is_loaded_is_read(folder: Path, asked: dict[str, int]) -> None:
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"x")
    assert begin(entry_at(folder))
    assert not any("fp16" in name for name in asked)


def test_a_single_file_is_read_and_a_pickle_is_not(tmp_path: Path, asked: dict[str, int]) -> None:
    for name, is_read in (("one.safetensors", True), ("one.ckpt", False), ("gone.safetensors", False)):
        if "gone" not in name:
            (tmp_path / name).write_bytes(b"x")
        assert begin(Entry("it", FILE, ModelSettings(file=tmp_path / name), tmp_path)) is is_read
    assert list(asked) == [str(tmp_path / "one.safetensors")]


def test_a_link_to_a_file_that_has_gone_is_the_loads_to_name(folder: Path) -> None:
    (folder / "unet" / "more.safetensors").symlink_to(folder / "gone")
    assert not begin(entry_at(folder))


def test_what_does_not_fit_beside_the_rest_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "free_in_group", lambda group: 2**10)
    assert not begin(entry_at(folder))


def test_a_file_that_goes_meanwhile_is_the_loads_to_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(os, "posix_fadvise", fails)
    assert begin(entry_at(folder))

"""What a single-file checkpoint will take of its device: known by part, as a folder's is, where names tell the part."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file

from darkroom.config import ModelSettings
from darkroom.models.catalogue import FILE, FOLDER, Entry
from darkroom.models.footprint import expected_bytes
from darkroom.models.single_file import UNTOLD, values_by_part
from tests.parity.families import sd_parts
from tests.unit.models.ldm import single_file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder, and beside it the same weights in a single file."""
    folder, pipe = tmp_path_factory.mktemp("models") / "tiny", diffusers.StableDiffusionPipeline(**sd_parts())
    pipe.save_pretrained(folder)
    save_file(single_file(pipe), folder.with_suffix(".safetensors"))
    return folder


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"offload": "model"},
        {"offload": "blocks"},
        {"float8": True},
        {"devices": {"vae": "cuda:1"}},
        {"offload": "model", "devices": {"unet": "cpu"}},
        {"offload": "model", "devices": {"unet": "cuda:1"}},
    ],
)
def test_as_much_is_expected_of_a_single_file_as_of_its_folder(tiny: Path, said: dict[str, Any]) -> None:
    file = Entry("a", FILE, ModelSettings(file=tiny.with_suffix(".safetensors"), **said), tiny.parent)
    folder = Entry("b", FOLDER, ModelSettings(path=tiny, **said), tiny.parent)
    assert expected_bytes(file) == expected_bytes(folder) > 0


def made_of(path: Path, **sizes: int) -> Path:
    """A file with tensors of these sizes; two underscores stand for a dot."""
    save_file({name.replace("__", "."): torch.zeros(size) for name, size in sizes.items()}, path)
    return path


def test_names_tell_the_parts_of_larger_families(tmp_path: Path) -> None:
    unet = {"model__diffusion_model__input_blocks__0__0__weight": 1, "model__diffusion_model__out__2__bias": 2}
    texts = {"conditioner__embedders__0__transformer__x": 4, "conditioner__embedders__1__model__x": 8}
    parts = values_by_part(made_of(tmp_path / "xl.safetensors", **unet, **texts, first_stage_model__x=16))
    assert parts == {"unet": 3, "text_encoder": 4, "text_encoder_2": 8, "vae": 16}
    texts = {"text_encoders__clip_l__x": 2, "text_encoders__clip_g__x": 4, "text_encoders__t5xxl__x": 8}
    parts = values_by_part(made_of(tmp_path / "3.safetensors", model__diffusion_model__joint_blocks__0__x=1, **texts))
    assert parts == {"transformer": 1, "text_encoder": 2, "text_encoder_2": 4, "text_encoder_3": 8}


def test_what_names_do_not_tell_stays_on_the_device(tmp_path: Path) -> None:
    path = made_of(tmp_path / "f.safetensors", double_blocks__0__x=100, vae__x=10, cond_stage_model__x=20)
    assert values_by_part(path)[UNTOLD] == 100

    def expected(**said: Any) -> int:
        return expected_bytes(Entry("a", FILE, ModelSettings(file=path, dtype="float32", **said), tmp_path))

    assert expected() == 130 * 4
    assert expected(offload="model") == expected(offload="blocks") == 120 * 4


def test_averages_from_training_are_not_loaded(tmp_path: Path) -> None:
    path = made_of(tmp_path / "ema.safetensors", model__diffusion_model__input_blocks__0=1, model_ema__x=1)
    assert values_by_part(path) == {"unet": 1}


@pytest.mark.parametrize("content", [b"", b"no weights", struct.pack("<Q", 2**63) + b"{}", b"\x02" + bytes(7) + b"[]"])
def test_nothing_is_expected_of_what_is_no_safetensors_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert expected_bytes(Entry("a", FILE, ModelSettings(file=path), tmp_path)) == 0
    assert expected_bytes(Entry("a", FILE, ModelSettings(file=path.with_suffix(".ckpt")), tmp_path)) == 0

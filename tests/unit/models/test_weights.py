"""Missing, cut-off and unsafe weights are found without reading them, each under its own name."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from darkroom.errors import CorruptWeights, DarkroomError, MissingWeights, UnsafeWeights
from darkroom.models import weights
from tests.unit.models.conftest import entry_at, replace

UNET = "unet/diffusion_pytorch_model.safetensors"


def edit_json(path: Path, **values: object) -> None:
    replace(path, json.dumps({**json.loads(path.read_text()), **values}).encode())


def pickle_in_place(folder: Path) -> None:
    (folder / UNET).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")


def cut(folder: Path) -> None:
    replace(folder / UNET, (folder / UNET).read_bytes()[:-1000])


def bring_code(folder: Path) -> None:
    (folder / "unet" / "my_unet.py").write_text("import os")
    edit_json(folder / "model_index.json", unet=["my_unet", "MyUNet"])


def shard(folder: Path) -> None:
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


HARM: dict[str, tuple[Callable[[Path], object], type[DarkroomError], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), MissingWeights, "model_index.json is missing"),
    "index is no JSON": (lambda f: replace(f / "model_index.json", b"{"), CorruptWeights, "cannot be read"),
    "index is a list": (lambda f: replace(f / "model_index.json", b"[]"), CorruptWeights, "no JSON object"),
    "component missing": (lambda f: (f / "vae").rename(f / "vea"), MissingWeights, "model_index.json asks for it"),
    "weights missing": (lambda f: (f / UNET).unlink(), MissingWeights, "holds no weights"),
    "weights cut off": (cut, CorruptWeights, "where its header says"),
    "weights are noise": (lambda f: replace(f / UNET, b"\xff" * 64), CorruptWeights, "no whole safetensors file"),
    "weights are empty": (lambda f: replace(f / UNET, b""), CorruptWeights, "no whole safetensors file"),
    "a shard missing": (shard, MissingWeights, "00001-of-00002.safetensors is missing"),
    "a pickle": (pickle_in_place, UnsafeWeights, "allow_pickle = true"),
    "code in a component": (bring_code, UnsafeWeights, "trust_remote_code = true"),
    "code of the pipeline": (
        lambda f: edit_json(f / "model_index.json", _class_name=["pipe", "MyPipe"]),
        UnsafeWeights,
        "trust_remote_code = true",
    ),
    "code by auto_map": (
        lambda f: edit_json(f / "text_encoder" / "config.json", auto_map={"AutoModel": "x.Y"}),
        UnsafeWeights,
        r"\(text_encoder\)",
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_folder_that_cannot_be_served_is_refused_by_name(harm: str, folder: Path) -> None:
    do, kind, said = HARM[harm]
    do(folder)
    with pytest.raises(kind, match=said) as caught:
        entry_at(folder).check()
    assert type(caught.value) is kind


def test_the_whole_folder_is_fine(folder: Path) -> None:
    entry_at(folder).check()


def test_leave_is_per_danger(folder: Path) -> None:
    pickle_in_place(folder)
    entry_at(folder, allow_pickle=True).check()
    bring_code(folder)
    with pytest.raises(UnsafeWeights):
        entry_at(folder, allow_pickle=True).check()
    entry_at(folder, allow_pickle=True, trust_remote_code=True).check()


def test_a_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="no such folder"):
        entry_at(tmp_path / "nowhere").check()


@pytest.mark.parametrize("suffix", sorted(weights.PICKLED))
def test_a_single_pickle_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeWeights, match="can run any code"):
        weights.check_file(path, allow_pickle=False)
    weights.check_file(path, allow_pickle=True)


def test_a_header_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(CorruptWeights, match="longer than the format allows"):
        weights.check_file(path, allow_pickle=False)


def test_a_variant_is_asked_for_where_there_is_nothing_else(folder: Path) -> None:
    assert weights.variant_of(folder) is None
    for path in [*folder.glob("*/*.safetensors")]:
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert weights.variant_of(folder) == "fp16"

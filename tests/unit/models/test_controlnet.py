"""A model's ControlNet: where it is looked for, what is refused by name, and what it adds to the revision."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from darkroom import config
from darkroom.config import ModelSettings
from darkroom.errors import CorruptWeights, DarkroomError, InvalidConfig, MissingWeights, NotSupported, UnsafeWeights
from darkroom.models.catalogue import FILE, Entry, catalogue, problem_of
from darkroom.models.controlnet import ControlNet
from darkroom.models.footprint import expected_bytes, weights_of
from darkroom.models.layout import read_layout
from darkroom.models.loading import fetch_controlnet, load
from darkroom.models.offer import offer_of
from tests.control_files import save_controlnet
from tests.unit.models.conftest import LANDSCAPES

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own, as under the command line

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_controlnet(tmp_path_factory.mktemp("control") / "edges")


@pytest.fixture
def control(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    return Path(shutil.copytree(saved, tmp_path / "edges"))


def entry_with(control: Path | str | None, home: Path, **said: Any) -> Entry:
    return Entry("mine", "folder", ModelSettings(path=LANDSCAPES, controlnet=control and str(control), **said), home)


def reconfigure(folder: Path, **said: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")


def cut(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, 1000)


def test_a_whole_one_that_fits_is_no_problem(control: Path, tmp_path: Path) -> None:
    entry = entry_with(control, tmp_path)
    assert problem_of(entry) is None
    assert offer_of(entry, read_layout(LANDSCAPES)).has_controlnet
    assert not offer_of(entry_with(None, tmp_path), read_layout(LANDSCAPES)).has_controlnet


BROKEN: dict[str, tuple[Callable[[Path], object], type[DarkroomError], str, str]] = {
    "no folder": (shutil.rmtree, MissingWeights, "controlnet", "no folder"),
    "no config": (lambda f: (f / "config.json").unlink(), MissingWeights, "controlnet", "config.json is missing"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), CorruptWeights, "controlnet", "cannot be read"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), MissingWeights, "controlnet", "holds no weights"),
    "cut off": (cut, CorruptWeights, "controlnet", "fetch it again"),
    "pickle": (pickled, UnsafeWeights, "allow_pickle", "is a pickle"),
    "no kind": (lambda f: reconfigure(f, _class_name="UNet2DModel"), NotSupported, "controlnet", "UNet2DModel is none"),
    "union": (lambda f: reconfigure(f, _class_name="ControlNetUnionModel"), NotSupported, "controlnet", "are"),
    "other widths": (
        lambda f: reconfigure(f, block_out_channels=[320, 640, 1280, 1280]),
        InvalidConfig,
        "controlnet",
        "block_out_channels is [320, 640, 1280, 1280], and the model's block_out_channels is [48, 96, 192, 256]",
    ),
    "other text": (
        lambda f: reconfigure(f, cross_attention_dim=768),
        InvalidConfig,
        "controlnet",
        "cross_attention_dim is 768, and the model's cross_attention_dim is 128",
    ),
    "other latents": (
        lambda f: reconfigure(f, in_channels=4),
        InvalidConfig,
        "controlnet",
        "in_channels is 4, and the model's latent_channels is 12",
    ),
    "other scale": (
        lambda f: reconfigure(f, conditioning_embedding_out_channels=[16, 32, 96, 256]),
        InvalidConfig,
        "controlnet",
        "[16, 32, 96, 256] make a picture 8 times smaller, and the model's latents are 16 times smaller",
    ),
    "other family": (
        lambda f: reconfigure(f, _class_name="FluxControlNetModel"),
        InvalidConfig,
        "controlnet",
        "it is a FluxControlNetModel, and the model's UNet2DConditionModel takes a ControlNetModel",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_wrong_with_one_is_named(how: str, control: Path, tmp_path: Path) -> None:
    harm, kind, field, said = BROKEN[how]
    harm(control)
    for act in (Entry.check, Entry.revision, lambda entry: load(entry, is_offline=True)):
        with pytest.raises(kind) as caught:
            act(entry_with(control, tmp_path))
        assert type(caught.value) is kind
        assert caught.value.field == field
        assert said in caught.value.message


def test_a_pickle_may_be_allowed(control: Path, tmp_path: Path) -> None:
    pickled(control)
    assert problem_of(entry_with(control, tmp_path, allow_pickle=True)) is None


def test_weights_that_are_not_all_there_are_refused_while_loading(control: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(control / WEIGHTS)
    save_file({name: weights[name] for name in weights if "mid_block" not in name}, control / WEIGHTS)
    with pytest.raises(CorruptWeights, match="does not hold all of its weights") as caught:
        load(entry_with(control, tmp_path), is_offline=True)
    assert caught.value.field == "controlnet"


def test_one_for_a_denoiser_that_takes_none_is_not_supported() -> None:
    said = ControlNet("mine", "/x", None, allow_pickle=False)
    with pytest.raises(NotSupported, match="PixArtTransformer2DModel do not exist yet"):
        said.check_fit({"_class_name": "ControlNetModel"}, {"_class_name": "PixArtTransformer2DModel"}, {})
    with pytest.raises(NotSupported, match="union"):
        said.kind_of({"_class_name": "FluxControlNetModel", "num_mode": 6})
    with pytest.raises(NotSupported, match="read a mask"):
        said.kind_of({"_class_name": "SD3ControlNetModel", "extra_conditioning_channels": 1})


def test_a_width_that_is_said_once_or_once_a_block_is_the_same() -> None:
    said = ControlNet("mine", "/x", None, allow_pickle=False)
    one, each = ({"cross_attention_dim": width} for width in (768, [768, 768]))
    said.check_fit({"_class_name": "ControlNetModel", **one}, {"_class_name": "UNet2DConditionModel", **each}, {})


def test_it_is_loaded_with_the_model_and_counts_in_its_bytes(saved: Path, tmp_path: Path) -> None:
    entries = [entry_with(each, tmp_path / "home", dtype="bfloat16") for each in (saved, None)]
    loaded, plain = (load(entry, is_offline=True) for entry in entries)
    assert not loaded.controlnet.training
    assert {tensor.dtype for tensor in loaded.controlnet.parameters()} == {torch.bfloat16}
    assert loaded.controlnet not in loaded.pipe.components.values()
    own = sum(tensor.untyped_storage().nbytes() for tensor in loaded.controlnet.parameters())
    held, without = (sum(weights_of(each.pipe, *each.beside).values()) for each in (loaded, plain))
    assert held == without + own
    assert expected_bytes(entries[0]) - expected_bytes(entries[1]) == own


def test_another_one_is_another_revision(saved: Path, tmp_path: Path) -> None:
    other = save_controlnet(tmp_path / "other", seed=6)
    alike = shutil.copytree(saved, tmp_path / "alike")
    entries = [entry_with(each, tmp_path / "home") for each in (None, saved, alike, other)]
    plain, one, same, another = (entry.revision() for entry in entries)
    assert one == same
    assert len({plain, one, another}) == 3


def told(folder: Path, said: str) -> Entry:
    """The entry as darkroom.toml in that folder has it."""
    (folder / "darkroom.toml").write_text(f'[models.mine]\npath = "model"\n{said}\n')
    return catalogue(config.load(folder / "darkroom.toml")).entries["mine"]


def test_a_path_is_relative_to_the_settings(tmp_path: Path) -> None:
    for said in ("nets/edges", "./nets/edges", "edges", str(tmp_path / "nets" / "edges")):
        found = told(tmp_path, f'controlnet = "{said}"').controlnet
        assert found is not None
        assert not found.is_hub
        assert found.folder == tmp_path / said


def test_one_of_the_hub_names_its_revision(tmp_path: Path) -> None:
    entry = told(tmp_path, 'controlnet = "some/edges"\ncontrolnet_revision = "abc"')
    assert entry.controlnet is not None
    assert (entry.controlnet.is_hub, entry.controlnet.origin) == (True, "some/edges@abc")
    assert entry.is_of_hub
    assert not entry.is_whole


def test_one_of_the_hub_that_is_not_downloaded_says_so(tmp_path: Path) -> None:
    entry = entry_with("some/edges-not-here", tmp_path)
    assert problem_of(entry) == ("the ControlNet some/edges-not-here is not downloaded yet: its first use downloads it")
    with pytest.raises(MissingWeights, match="edges-not-here is not downloaded, and offline is set") as caught:
        load(entry, is_offline=True)
    assert caught.value.field == "controlnet"


def test_one_in_the_hubs_own_cache_loads_offline(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub" / "models--some--edges" / "snapshots" / ("0" * 40)
    shutil.copytree(saved, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    for module in ("huggingface_hub.constants", "diffusers.utils.constants", "diffusers.models.modeling_utils"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    entry = entry_with("some/edges", tmp_path / "home")
    assert entry.is_whole
    assert load(entry, is_offline=True).controlnet is not None
    assert fetch_controlnet(entry) == snapshot
    assert entry.revision() == entry_with(saved, tmp_path / "home").revision()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('controlnet_revision = "abc"', "controlnet_revision goes with a controlnet from the hub only"),
        ('controlnet = "./edges"\ncontrolnet_revision = "abc"', "from the hub only"),
        ('controlnet = ""', "at least 1 character"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, said: str, why: str) -> None:
    with pytest.raises(InvalidConfig, match=why):
        told(tmp_path, said)


def test_a_model_in_one_file_is_judged_by_its_configuration(control: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "one.safetensors")
    reconfigure(control, in_channels=4)
    said = {"file": tmp_path / "one.safetensors", "controlnet": str(control)}
    known, unknown = ({**said, **more} for more in ({"config": LANDSCAPES}, {}))
    assert problem_of(Entry("one", FILE, ModelSettings(**unknown), tmp_path)) is None, "known once loaded"
    assert "latent_channels is 12" in str(problem_of(Entry("one", FILE, ModelSettings(**known), tmp_path)))

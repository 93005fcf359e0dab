"""Models from folders and single files, through diffusers' own loading; what is wrong gets a name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

from darkroom.config import ModelSettings
from darkroom.errors import BadInput, CorruptWeights, InvalidConfig, MissingWeights, UnsafeWeights
from darkroom.models.catalogue import Entry
from darkroom.models.loading import Loaded, layout_of, load
from tests.parity.families import flux, sd_parts
from tests.unit.models.conftest import LANDSCAPES, entry_at
from tests.unit.models.ldm import single_file

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own, as under the command line


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A tiny Stable Diffusion with random weights, saved as people save theirs."""
    diffusers.StableDiffusionPipeline(**sd_parts()).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def loaded_at(folder: Path, **said: Any) -> Loaded:
    return load(entry_at(folder, **said), is_offline=True)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_the_bundled_model_loads_ready_to_serve(entry: Entry) -> None:
    loaded = load(entry, is_offline=True)
    modules = [part for part in loaded.pipe.components.values() if isinstance(part, torch.nn.Module)]
    assert modules
    assert not any(module.training for module in modules)
    assert {module.dtype for module in modules} == {loaded.placement.torch_dtype}
    assert loaded.revision == entry.revision()
    assert loaded.offer().default_size == (256, 256)
    assert loaded.windows()


def test_a_folder_gives_the_weights_that_were_saved(tiny: Path) -> None:
    assert same_weights(loaded_at(tiny, dtype="float32").pipe.unet, sd_parts()["unet"])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_dtype_asked_for_is_taken_and_said(dtype: str, tiny: Path) -> None:
    loaded = loaded_at(tiny, dtype=dtype, device="cpu")
    assert loaded.pipe.unet.dtype == getattr(torch, dtype)
    assert dtype in str(loaded.placement)


def test_another_pipeline_class_may_be_asked_for(tiny: Path) -> None:
    pipe = loaded_at(tiny, pipeline="StableDiffusionImg2ImgPipeline").pipe
    assert isinstance(pipe, diffusers.StableDiffusionImg2ImgPipeline)


@pytest.mark.parametrize("name", ["NoSuchPipeline", "UNet2DConditionModel", "__version__"])
def test_a_pipeline_class_that_is_none_is_refused(name: str, tiny: Path) -> None:
    with pytest.raises(InvalidConfig, match="no pipeline class"):
        loaded_at(tiny, pipeline=name)


def test_parts_may_be_named_their_own_device(tiny: Path) -> None:
    loaded = loaded_at(tiny, device="cpu", devices={"text_encoder": "cpu", "vae": "cpu"})
    assert {part.device.type for part in loaded.modules} == {"cpu"}
    assert not any(hasattr(part, "_hf_hook") for part in loaded.modules)  # an engine takes them
    assert loaded.pipe.hf_device_map is None


@pytest.mark.parametrize(
    ("said", "field", "text"),
    [
        ({"devices": {"unett": "cpu"}}, "models.mine.devices.unett", "no such component; allowed: vae, text_encoder"),
        ({"devices": {"vae": "cuda:99"}}, "models.mine.devices.vae", "'cuda:99' is not there; allowed: "),
    ],
)
def test_a_part_or_a_device_that_is_not_there_is_refused(
    said: dict[str, Any], field: str, text: str, tiny: Path
) -> None:
    with pytest.raises(InvalidConfig, match=text) as refused:
        loaded_at(tiny, **said)
    assert refused.value.field == field


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would be taken")
@pytest.mark.parametrize("how", ["model", "blocks"])
def test_offloading_is_refused_where_the_device_s_memory_is_the_host_s(how: str, tiny: Path) -> None:
    with pytest.raises(InvalidConfig, match="needs CUDA") as refused:
        loaded_at(tiny, offload=how)
    assert refused.value.field == "models.mine.offload"


def test_a_device_that_is_not_there_is_refused(tiny: Path) -> None:
    if torch.backends.mps.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(InvalidConfig, match="this torch has: ") as caught:
        loaded_at(tiny, device="mps")
    assert caught.value.field == "device"


def drop_a_weight(path: Path) -> None:
    weights = load_file(path)
    weights.pop(sorted(weights)[0])
    save_file(weights, path)


def change_a_shape(path: Path) -> None:
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name] = torch.zeros(3)
    save_file(weights, path)


@pytest.mark.parametrize("harm", [drop_a_weight, change_a_shape])
@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
def test_weights_that_do_not_fit_are_never_made_up(harm: Callable[[Path], None], name: str, tiny: Path) -> None:
    harm(tiny / f"{name}.safetensors")
    with pytest.raises(CorruptWeights):
        loaded_at(tiny)


def test_loggers_are_left_as_they_were(tiny: Path) -> None:
    logger = logging.getLogger("diffusers.models.modeling_utils")
    before = (logger.level, logger.propagate, list(logger.handlers))
    loaded_at(tiny)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_configuration_of_nonsense_is_corrupt(tiny: Path) -> None:
    (tiny / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel", "layers_per_block": "many"}')
    with pytest.raises(CorruptWeights, match="cannot be loaded"):
        loaded_at(tiny)


def test_pickled_weights_load_with_leave_and_not_without(tiny: Path) -> None:
    path = tiny / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(UnsafeWeights):
        loaded_at(tiny)
    assert same_weights(loaded_at(tiny, allow_pickle=True, dtype="float32").pipe.unet, sd_parts()["unet"])


def test_a_half_precision_variant_loads_where_there_is_nothing_else(tmp_path: Path) -> None:
    diffusers.StableDiffusionPipeline(**sd_parts()).save_pretrained(tmp_path / "v", variant="fp16")
    assert same_weights(loaded_at(tmp_path / "v", dtype="float32").pipe.unet, sd_parts()["unet"])


@pytest.fixture
def checkpoint(tiny: Path) -> Path:
    path = tiny.parent / "poster.safetensors"
    save_file(single_file(diffusers.StableDiffusionPipeline(**sd_parts())), path)
    return path


def file_entry(checkpoint: Path, **said: Any) -> Entry:
    return Entry("poster", "file", ModelSettings(file=checkpoint, **said), checkpoint.parent / "home")


def test_a_single_file_gives_the_same_weights_as_the_folder(checkpoint: Path, tiny: Path) -> None:
    loaded = load(file_entry(checkpoint, config=tiny, dtype="float32"), is_offline=True)
    assert isinstance(loaded.pipe, diffusers.StableDiffusionPipeline)
    for name in ("unet", "vae", "text_encoder"):
        assert same_weights(getattr(loaded.pipe, name), sd_parts()[name]), name
    assert loaded.offer().default_size == (16, 16)
    assert loaded.windows()


def test_a_single_file_without_its_configuration_is_refused_offline(checkpoint: Path) -> None:
    with pytest.raises((CorruptWeights, MissingWeights)):
        load(file_entry(checkpoint), is_offline=True)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x00" * 100])
def test_a_single_file_that_is_none_is_corrupt(content: bytes, checkpoint: Path, tiny: Path) -> None:
    checkpoint.write_bytes(content)
    with pytest.raises(CorruptWeights, match="no whole safetensors file"):
        load(file_entry(checkpoint, config=tiny), is_offline=True)


def test_a_single_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="no such file"):
        load(file_entry(tmp_path / "x.safetensors"), is_offline=True)


def test_a_hub_model_that_is_not_here_is_missing_offline(tmp_path: Path) -> None:
    entry = Entry("b", "hub", ModelSettings(hub="some/model-that-is-not-here"), tmp_path)
    with pytest.raises(MissingWeights, match="not downloaded, and offline is set") as caught:
        load(entry, is_offline=True)
    assert isinstance(caught.value, BadInput)


def test_a_hub_model_in_the_hubs_own_cache_loads_offline(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--some--tiny" / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    tiny.rename(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    for module in ("huggingface_hub.constants", "diffusers.utils.constants", "diffusers.pipelines.pipeline_utils"):
        for name in ("HF_HUB_CACHE", "HF_MODULES_CACHE"):
            monkeypatch.setattr(f"{module}.{name}", str(tmp_path / "hub"), raising=False)
    entry = Entry("b", "hub", ModelSettings(hub="some/tiny", dtype="float32"), tmp_path / "home")
    assert same_weights(load(entry, is_offline=True).pipe.unet, sd_parts()["unet"])


def test_a_layout_in_memory_says_what_the_folder_says() -> None:
    from darkroom.models.layout import read_layout

    pipe = diffusers.DiffusionPipeline.from_pretrained(LANDSCAPES, local_files_only=True)
    from_memory, from_folder = layout_of(pipe), read_layout(LANDSCAPES)
    assert (from_memory.size_multiple, from_memory.native_size) == (from_folder.size_multiple, from_folder.native_size)
    assert (from_memory.family, layout_of(flux()["flow-euler"]).family) == ("diffusion", "flow")

"""What a model offers: its entry's word, else its maker's, else what its layout implies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import CorruptWeights, InvalidConfig
from darkroom.models.layout import Layout, layout_from, read_layout
from darkroom.models.offer import Offer, offer_of
from tests.unit.models.conftest import entry_at, replace

SIZES = ((256, 256), (192, 192), (320, 192), (192, 320))


def offer_at(folder: Path, **said: Any) -> Offer:
    return offer_of(entry_at(folder, **said), read_layout(folder))


def test_the_makers_presets_and_sizes_count(folder: Path) -> None:
    offer = offer_at(folder)
    assert (offer.sizes, offer.default_size, sorted(offer.presets)) == (SIZES, (256, 256), ["fast", "quality"])


def test_the_entry_stands_above_its_maker(folder: Path) -> None:
    said = {"sizes": ((192, 192),), "presets": {"only": {"num_inference_steps": 4}}, "reproducible_rows": 4}
    offer = offer_at(folder, **said)
    assert (offer.sizes, offer.default_size, list(offer.presets)) == (((192, 192),), (192, 192), ["only"])
    assert offer.fixed_rows == 4
    assert offer.preset(None).num_inference_steps == 4


def test_a_stock_model_has_presets_and_every_fitting_size(folder: Path) -> None:
    (folder / "presets.json").unlink()
    offer = offer_at(folder)
    assert {name: preset.num_inference_steps for name, preset in offer.presets.items()} == {"fast": 25, "quality": 50}
    assert offer.default_size == (256, 256)
    assert offer.fixed_rows == 1
    assert offer.is_offered(512, 64)
    assert not offer.is_offered(250, 256)
    assert not offer.is_offered(4096, 256)


@pytest.mark.parametrize(
    ("said", "place", "why"),
    [
        ({"sizes": ((250, 256),)}, "models.mine.sizes", "multiples of 16"),
        ({"default_size": (512, 512)}, "models.mine.default_size", "one of the sizes: 256x256, 192x192"),
        (
            {"presets": {"p": {"num_inference_steps": 4, "solver": "flow-euler"}}},
            "models.mine.presets.p",
            "does not fit; allowed: ddim",
        ),
        ({"presets": {"p": {"num_inference_steps": 60, "solver": "lcm"}}}, "models.mine.presets.p", "at most 50"),
    ],
)
def test_an_entry_that_contradicts_its_model_is_refused(said: Any, place: str, why: str, folder: Path) -> None:
    with pytest.raises(InvalidConfig, match=why) as caught:
        offer_at(folder, **said)
    assert caught.value.field == place


@pytest.mark.parametrize("wrong", ["{", '{"presets": {"fast": {"num_inference_steps": 0}}}', '{"sizes": [[1]]}'])
def test_damaged_presets_are_corrupt_weights(wrong: str, folder: Path) -> None:
    replace(folder / "presets.json", wrong.encode())
    with pytest.raises(CorruptWeights, match=r"presets\.json"):
        offer_at(folder)


EIGHTFOLD = {"block_out_channels": [1, 2, 3, 4]}
UNET = {"down_block_types": [], "sample_size": 64}


@pytest.mark.parametrize(
    ("pipeline", "denoiser", "vae", "multiple", "native"),
    [
        ("StableDiffusionPipeline", UNET, EIGHTFOLD, 8, (512, 512)),
        ("StableDiffusionXLPipeline", {**UNET, "sample_size": 128}, EIGHTFOLD, 8, (1024, 1024)),
        ("StableDiffusionPipeline", {**UNET, "sample_size": [24, 32]}, {"block_out_channels": [1, 2]}, 8, (64, 48)),
        ("StableDiffusion3Pipeline", {"patch_size": 2, "sample_size": 128}, EIGHTFOLD, 16, (1024, 1024)),
        ("FluxPipeline", {"patch_size": 1}, EIGHTFOLD, 16, (1024, 1024)),
        (
            "SanaPipeline",
            {"patch_size": 1, "sample_size": 32},
            {"encoder_block_out_channels": [1] * 6},
            32,
            (1024, 1024),
        ),
        ("SomethingElse", {}, {}, 8, (1024, 1024)),
    ],
)
def test_multiple_and_native_size_follow_from_the_configurations(
    pipeline: str, denoiser: Any, vae: Any, multiple: int, native: tuple[int, int]
) -> None:
    layout = layout_from(pipeline, {}, denoiser, vae)
    assert (layout.size_multiple, layout.native_size) == (multiple, native)


@pytest.mark.parametrize(
    ("scheduler", "family"),
    [
        ({"_class_name": "DDIMScheduler"}, "diffusion"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "flow"),
        ({"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction"}, "flow"),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, "flow"),
    ],
)
def test_the_family_follows_from_the_scheduler(scheduler: Any, family: str) -> None:
    assert Layout("P", scheduler).family == family

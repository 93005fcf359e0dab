"""What is known of pipelines that make videos is what the diffusers that is installed has."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest

from darkroom.errors import BadInput
from darkroom.models.layout import layout_from
from darkroom.models.media import VIDEOS
from darkroom.models.offer import STOCK_PRESETS, Offer
from darkroom.models.request import validate


@pytest.mark.parametrize("name", VIDEOS)
def test_sizes_and_frames_are_the_pipelines_own(name: str) -> None:
    takes = inspect.signature(getattr(diffusers, name).__call__).parameters
    said = VIDEOS[name]
    assert {"prompt", "num_inference_steps", "guidance_scale", "negative_prompt", "output_type"} <= set(takes)
    assert said.size == (takes["width"].default, takes["height"].default)
    assert said.frames == takes["num_frames"].default
    assert "frame_rate" not in takes or said.rate == takes["frame_rate"].default


VAES: list[tuple[str, str, dict[str, Any], int, int]] = [
    ("WanPipeline", "AutoencoderKLWan", {"dim_mult": [1, 1, 1, 1], "base_dim": 3, "num_res_blocks": 1}, 4, 16),
    ("WanPipeline", "AutoencoderKLWan", {"base_dim": 3, "scale_factor_spatial": 16}, 4, 32),
    ("LTXPipeline", "AutoencoderKLLTXVideo", {"block_out_channels": (8,) * 4, "layers_per_block": (1,) * 5}, 8, 32),
]


@pytest.mark.parametrize(("pipeline", "kind", "config", "step", "multiple"), VAES)
def test_frames_and_sides_follow_from_the_vaes_configuration(
    pipeline: str, kind: str, config: dict[str, Any], step: int, multiple: int
) -> None:
    defaults = inspect.signature(getattr(diffusers, kind).__init__).parameters.values()
    vae = {"_class_name": kind, **{each.name: each.default for each in defaults}, **config}
    denoiser = {"patch_size": [1, 2, 2] if pipeline == "WanPipeline" else 1}
    layout = layout_from(pipeline, {}, denoiser, vae)
    assert (layout.frame_step, layout.size_multiple) == (step, multiple)
    width, height = layout.native_size
    assert width % multiple == height % multiple == 0 or multiple > VIDEOS[pipeline].multiple


def test_a_wan_vae_from_before_its_configuration_said_so_is_known() -> None:
    layout = layout_from("WanPipeline", {}, {"patch_size": [1, 2, 2]}, {"_class_name": "AutoencoderKLWan"})
    assert (layout.frame_step, layout.size_multiple) == (4, 16)


WAN = Offer("wan", layout_from("WanPipeline", {}, {"patch_size": [1, 2, 2]}, {}), (), (832, 480), STOCK_PRESETS, 1)


@pytest.mark.parametrize(
    ("asked", "is_allowed"),
    [
        ({"num_images_per_prompt": 4}, True),
        ({"num_images_per_prompt": 5}, False),
        ({"num_frames": 257}, True),
        ({"num_frames": 257, "num_images_per_prompt": 2}, False),
        ({"width": 2048, "height": 2048, "num_frames": 257, "num_images_per_prompt": 16}, False),
    ],
)
def test_a_request_may_have_the_pixels_of_four_usual_videos(asked: dict[str, Any], is_allowed: bool) -> None:
    given = {"prompt": "waves", "seed": 1, **asked}
    if is_allowed:
        assert validate(given, WAN).num_frames == asked.get("num_frames", 81)
        return
    with pytest.raises(BadInput, match=f"at most {4 * 832 * 480 * 81} in a request") as refused:
        validate(given, WAN)
    assert refused.value.field == "num_frames"

"""What is known of pipelines that make videos is what the diffusers that is installed has."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest

from darkroom.models.layout import layout_from
from darkroom.models.media import VIDEOS


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

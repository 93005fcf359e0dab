"""Pipelines that make videos or sounds, and what bounds a request to one. No torch here.

Size, frames and rate are those that their makers' examples use; tests/unit/models/test_media.py holds them against the
diffusers that is installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEXT_TO_VIDEO, TEXT_TO_AUDIO = "text-to-video", "text-to-audio"
MOST_FRAMES = 257
MOST_CLIPS = 4  # of a pipeline's usual size and length, in one request: frames lie in memory before they are written
RATES = (1.0, 60.0)  # frames a second


@dataclass(frozen=True)
class Moving:
    """A pipeline's videos: [width, height] in pixels, sides in multiples of `multiple`, `rate` in frames a second."""

    size: tuple[int, int]
    multiple: int
    frames: int
    rate: float


VIDEOS: Mapping[str, Moving] = {
    "WanPipeline": Moving((832, 480), 16, 81, 16.0),
    "LTXPipeline": Moving((704, 512), 32, 161, 25.0),
}


SOUNDS = ("StableAudioPipeline",)
SHORTEST_S = 0.1


def tasks_of(pipeline: str) -> tuple[str, ...]:
    """What a pipeline of that class makes that is no picture; nothing where it makes pictures, or is unknown."""
    if pipeline in SOUNDS:
        return (TEXT_TO_AUDIO,)
    return (TEXT_TO_VIDEO,) if pipeline in VIDEOS else ()


def longest_s(pipeline: str, denoiser: Mapping[str, Any], vae: Mapping[str, Any]) -> float | None:
    """Seconds of the longest sound, which the denoiser's length sets; None for what makes no sounds."""
    if pipeline not in SOUNDS:
        return None
    hop = math.prod(vae.get("downsampling_ratios") or (2, 4, 4, 8, 8))
    return float(denoiser.get("sample_size", 1024) * hop / vae.get("sampling_rate", 44100))


def frame_step(vae: Mapping[str, Any]) -> int:
    """Frames per frame of latents: a video has one more than a multiple of it. 1 for a VAE of pictures."""
    said = vae.get("temporal_compression_ratio") or vae.get("scale_factor_temporal")
    if said:
        return int(said)
    if vae.get("_class_name") == "AutoencoderKLWan":
        return 4  # before its configuration said so
    return int(vae.get("patch_size_t") or 1) << sum(map(bool, vae.get("spatio_temporal_scaling") or ()))


def spatial_scale(vae: Mapping[str, Any]) -> int | None:
    """Pixels per latent along one side, of a video's VAE; None for another."""
    said = vae.get("spatial_compression_ratio") or vae.get("scale_factor_spatial")
    if said:
        return int(said)
    if vae.get("_class_name") == "AutoencoderKLWan":
        return 8
    scaling = vae.get("spatio_temporal_scaling")
    return None if scaling is None else int(vae.get("patch_size") or 1) << sum(map(bool, scaling))


def side_multiple(pipeline: str, multiple: int) -> int:
    """Pixels that a side must be a multiple of: some pipelines insist on more than their parts need."""
    return math.lcm(multiple, VIDEOS[pipeline].multiple) if pipeline in VIDEOS else multiple

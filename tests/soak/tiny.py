"""A model that is as small as a diffusers pipeline gets, in a folder."""

from __future__ import annotations

from pathlib import Path

from diffusers import StableDiffusionPipeline

from ..parity.families import sd_parts


def save_tiny(folder: Path) -> None:
    """Write it, with random weights, in diffusers' layout."""
    StableDiffusionPipeline(**sd_parts()).save_pretrained(folder)

"""A sheet of the same scenes plain, in each style and in both, and in four steps with turbo."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from ..landscapes.sheet import make_sheet
from .evaluate import wear
from .layers import load_bundled
from .train import adapters_folder

PROMPTS = (
    "A beautiful sunset over mountains",
    "night, full moon over a lake, two pine trees",
    "a lighthouse on the right by the sea, sailboat, day",
    "a house on the left, several palm trees, dawn",
    "snow falling, three red mountain ranges, a house",
    "rain at night, lighthouse on the left",
)
COLUMNS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "neon": ("neon",),
    "woodcut": ("woodcut",),
    "both": ("neon", "woodcut"),
    "turbo": ("turbo",),
    "turbo and neon": ("turbo", "neon"),
}


def make_column(names: tuple[str, ...]) -> list[Image.Image]:
    """Every prompt from the same noise: four unguided DDIM steps with turbo, 20 guided ones without."""
    pipeline = load_bundled()
    wear(pipeline, *names)
    fast = "turbo" in names
    if not fast:
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    steps, guidance = (4, 1.0) if fast else (20, 4.0)
    noise = torch.Generator().manual_seed(3)
    made: list[Image.Image] = pipeline(
        list(PROMPTS), num_inference_steps=steps, guidance_scale=guidance, generator=noise
    ).images
    return made


def main() -> None:
    """Write the sheet: a row for each prompt, a column for each set of adapters asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("columns", nargs="*", default=list(COLUMNS), help=f"any of {', '.join(COLUMNS)}")
    parser.add_argument("-o", "--out", type=Path, default=None)
    options = parser.parse_args()
    columns = [make_column(COLUMNS[name]) for name in options.columns]
    out = options.out or adapters_folder() / "sheet.png"
    make_sheet([picture for row in zip(*columns, strict=True) for picture in row], len(columns)).save(out)
    print(out)


if __name__ == "__main__":
    main()

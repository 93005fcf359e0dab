"""Twenty requests at once in one engine: each scene plain, in each style, in both, and in four steps with turbo."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from darkroom import Engine

from ..landscapes.export_stage import BUNDLED
from ..landscapes.sheet import make_sheet

ADAPTERS = BUNDLED.parent / "adapters"
PROMPTS = (
    "A beautiful sunset over mountains",
    "night, full moon over a lake, two pine trees",
    "a lighthouse on the right by the sea, sailboat, day",
    "snow falling, three red mountain ranges, a house",
)
COLUMNS: dict[str, dict[str, float]] = {
    "plain": {},
    "neon": {"neon": 1.0},
    "woodcut": {"woodcut": 1.0},
    "both": {"neon": 0.6, "woodcut": 0.6},
    "turbo": {"turbo": 1.0},
}
GUIDED = {"model": "dpm++2m", "num_inference_steps": 12, "guidance_scale": 4.0}
TURBO = {"model": "ddim", "num_inference_steps": 4, "guidance_scale": 1.0}
SIDE = 192
QUALITY = 88


def open_engine() -> Engine:
    """An engine with the model that ships, by the name of each solver, and its adapters."""
    own = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32, local_files_only=True)
    solver = DPMSolverMultistepScheduler.from_config(own.scheduler.config)
    parts = {**own.components, "scheduler": solver, "requires_safety_checker": False}
    engine = Engine()
    for name, pipe in {"ddim": own, "dpm++2m": StableDiffusionPipeline(**parts)}.items():
        pipe.set_progress_bar_config(disable=True)
        engine.add(pipe, name=name)
    for name in ("neon", "woodcut", "turbo"):
        engine.add_adapter(name, ADAPTERS / name, model="ddim")
    return engine


def make_pictures(prompts: tuple[str, ...] = PROMPTS, **changed: Any) -> tuple[list[Image.Image], Mapping[str, Any]]:
    """Row by row, a row of one noise; and the engine's counters of the denoiser."""
    asked = [
        {"prompt": prompt, "seed": seed, "adapters": mix, "height": SIDE, "width": SIDE, **settings, **changed}
        for seed, prompt in enumerate(prompts, start=3)
        for name, mix in COLUMNS.items()
        for settings in [TURBO if name == "turbo" else GUIDED]
    ]
    with open_engine() as engine:
        handles = [engine.submit(**each) for each in asked]
        return [handle.result().images[0] for handle in handles], engine.stats()["modules"]["unet"]


def main() -> None:
    """Write the sheet, a row for each scene and a column for each mix of adapters, and print how they shared."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/adapters.jpg"))
    out: Path = parser.parse_args().out
    pictures, denoiser = make_pictures()
    out.parent.mkdir(parents=True, exist_ok=True)
    make_sheet(pictures, len(COLUMNS)).save(out, quality=QUALITY)
    print(f"{out}: {len(pictures)} requests, {denoiser['calls']} denoiser calls in {denoiser['batches']} batches")


if __name__ == "__main__":
    main()

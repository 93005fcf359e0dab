"""`python -m bench.easy_cache`: denoiser calls that need not run, and what leaving them out does to the images.

The bundled model; each image beside the same one computed in full: PSNR in dB (mean over all pixels of all images), and
the same for a run of fewer steps that computes about as many calls. Seconds an image are medians over the images.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, Entry
from darkroom.models.loading import load

PROMPTS = (
    "night, full moon over a lake",
    "sunny day over mountains",
    "sunset at the sea",
    "foggy forest",
)
GUIDANCE = 4.0


@dataclass(frozen=True)
class Row:
    """One setting: `computed` is the share of the full run's calls that ran, `psnr_db` against the full run."""

    what: str
    computed: float
    seconds: float
    psnr_db: float


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    asked = _parser().parse_args(arguments)
    torch.set_num_threads(asked.threads)
    settings = ModelSettings(path=BUNDLED_FOLDER / "landscapes", dtype="float32")
    with tempfile.TemporaryDirectory() as home:
        pipe = load(Entry("landscapes", BUNDLED, settings, Path(home)), is_offline=True).pipe
    found = rows(pipe, asked.steps, asked.thresholds, asked.images)
    print(f"landscapes, {asked.steps} steps, {asked.images} images")
    for row in found:
        print(f"  {row.what:22} {row.computed:6.1%} of the calls  {row.seconds:7.3f} s an image  {row.psnr_db:6.1f} dB")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps([asdict(row) for row in found], indent=1), encoding="utf-8")
    print(f"written: {asked.out}")
    return 0


def rows(pipe: Any, steps: int, thresholds: list[float], images: int) -> list[Row]:
    """The full run, each threshold, and behind each as many steps as it computed."""
    _made(pipe, None, steps, 1)  # kernels are chosen
    full, calls, seconds = _made(pipe, None, steps, images)
    found = [Row("in full", 1.0, seconds, math.inf)]
    for threshold in thresholds:
        made, ran, seconds = _made(pipe, threshold, steps, images)
        found.append(Row(f"easy_cache {threshold:g}", ran / calls, seconds, _psnr(full, made)))
        fewer = max(1, round(steps * ran / calls))
        made, ran, seconds = _made(pipe, None, fewer, images)
        found.append(Row(f"{fewer} steps", ran / calls, seconds, _psnr(full, made)))
    return found


def _made(pipe: Any, threshold: float | None, steps: int, images: int) -> tuple[np.ndarray, int, float]:
    """Images one after another, how many calls of the denoiser ran, and the median of their seconds."""
    made, seconds = [], []
    with Engine() as engine:
        engine.add(pipe, "it", easy_cache=threshold)
        for k in range(images):
            call = {"prompt": PROMPTS[k % len(PROMPTS)], "num_inference_steps": steps, "guidance_scale": GUIDANCE}
            began = time.perf_counter()
            made.append(engine.submit(**call, seed=k, output_type="np").result().images[0])
            seconds.append(time.perf_counter() - began)
        return np.asarray(made), engine.stats()["modules"]["unet"]["calls"], median(seconds)


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(((one - other) ** 2).mean())
    return -10 * math.log10(error) if error else math.inf


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.easy_cache", description="Calls that need not run.")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.4])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out/bench-easy-cache.json"), help="JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

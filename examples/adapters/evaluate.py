"""An evaluation that can fail: what turbo shows after four steps, and whose colours a style's pictures have."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from ..landscapes.caption import Caption, write_caption
from ..landscapes.checker import load_checker, read_attributes
from ..landscapes.draw import draw_scene
from ..landscapes.evaluate import held_out_captions, make_pictures, score_mentions
from ..landscapes.scene import sample_scene
from .filters import STYLES
from .layers import ADAPTERS, load_bundled
from .train import adapters_folder

CAPTIONS, STYLE_CAPTIONS = 128, 32
STYLE_SEED = 17_000_000
BINS = 6
TURBO_LEAST, STYLE_LEAST = 0.88, 0.5
ROWS = {
    "base, 30 steps, guidance 4, dpm++2m": (None, 30, 4.0, "dpm++2m"),
    "base, 4 steps, guidance 4, dpm++2m": (None, 4, 4.0, "dpm++2m"),
    "base, 4 steps, no guidance, ddim": (None, 4, 1.0, "ddim"),
    "turbo, 4 steps, no guidance, ddim": ("turbo", 4, 1.0, "ddim"),
}


def wear(pipeline: StableDiffusionPipeline, *names: str) -> None:
    """Put on exactly these shipped adapters, each at its full weight."""
    pipeline.unload_lora_weights()
    for name in names:
        pipeline.load_lora_weights(ADAPTERS / name, adapter_name=name, local_files_only=True)
    if names:
        pipeline.set_adapters(list(names), adapter_weights=[1.0] * len(names))


def score_turbo(count: int, rows: Sequence[str] = tuple(ROWS)) -> dict[str, float]:
    """The share of mentioned attributes that are read back right, averaged over attributes, for each setting."""
    pipeline, captions, checker = load_bundled(), held_out_captions(count), load_checker()
    solvers = {
        "ddim": pipeline.scheduler,
        "dpm++2m": DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config),
    }
    found = {}
    for row in rows:
        adapter, steps, guidance, solver = ROWS[row]
        wear(pipeline, *([adapter] if adapter else []))
        pipeline.scheduler = solvers[solver]
        read = read_attributes(checker, make_pictures(pipeline, captions, steps, guidance))
        scores = score_mentions(captions, read)
        found[row] = sum(right / asked for asked, right in scores.values()) / len(scores)
        print(f"{row}: {found[row]:.1%}", flush=True)
    return found


def colours_of(pictures: Sequence[Image.Image]) -> NDArray[np.float64]:
    """How much of the pictures each of BINS^3 colours covers; the shares add up to 1."""
    pixels = np.concatenate([np.asarray(picture.convert("RGB")).reshape(-1, 3) for picture in pictures])
    index = (pixels.astype(np.int64) * BINS // 256) @ (BINS**2, BINS, 1)
    counts: NDArray[np.float64] = np.bincount(index, minlength=BINS**3) / len(index)
    return counts


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """How much two histograms share, from 0 to 1."""
    return float(np.minimum(first, second).sum())


def score_style(style: str, count: int) -> dict[str, float]:
    """What a style's pictures share in colour with styled drawings and with plain ones of the same scenes."""
    rng, drawings, captions = random.Random(STYLE_SEED), [], []
    for _ in range(count):
        scene = sample_scene(rng)
        captions.append(Caption(write_caption(scene, rng).text, {}))
        drawings.append(draw_scene(scene, 256, 256, rng))
    pipeline = load_bundled()
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    wear(pipeline, style)
    made = colours_of(make_pictures(pipeline, captions, 10, 4.0))
    styled = colours_of([STYLES[style](picture) for picture in drawings])
    return {"styled": overlap(made, styled), "plain": overlap(made, colours_of(drawings))}


def main() -> int:
    """Print the figures and keep them for the cards; 1 where an adapter falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapters", nargs="*", default=[*STYLES, "turbo"])
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    options = parser.parse_args()
    kept = adapters_folder() / "evaluation.json"
    record: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for name in options.adapters:
        record[name] = score_turbo(options.captions) if name == "turbo" else score_style(name, STYLE_CAPTIONS)
        print(name, {key: round(value, 3) for key, value in record[name].items()}, flush=True)
    record["count"] = options.captions
    kept.write_text(json.dumps(record, indent=1))
    good = [record[name]["styled"] >= STYLE_LEAST for name in STYLES if name in options.adapters]
    if "turbo" in options.adapters:
        good.append(record["turbo"]["turbo, 4 steps, no guidance, ddim"] >= TURBO_LEAST)
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())

"""An evaluation that can fail: held-out captions, pictures made from them, and what can be read back."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from .caption import Caption, write_caption
from .checker import load_checker, read_attributes, score_checker
from .export_stage import BUNDLED
from .run import cache_folder
from .scene import ATTRIBUTES, sample_scene
from .sheet import make_sheet

HELD_OUT_SEED = 9_000_000
CAPTIONS, BATCH = 128, 16
CHECKER_LEAST, MODEL_LEAST = 0.97, 0.85
BATCH_SIZES = ((256, 256), (192, 192), (256, 256), (320, 192), (256, 256), (192, 320), (256, 256), (192, 192))


def held_out_captions(count: int) -> list[Caption]:
    """Captions from seeds that training never touches, each mentioning something."""
    found: list[Caption] = []
    seed = HELD_OUT_SEED
    while len(found) < count:
        rng, seed = random.Random(seed), seed + 1
        caption = write_caption(sample_scene(rng), rng)
        if caption.mentions:
            found.append(caption)
    return found


def load_model(folder: Path, solver: str) -> StableDiffusionPipeline:
    """The exported model with the chosen solver."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    if solver == "dpm++2m":
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make_pictures(
    pipeline: StableDiffusionPipeline, captions: list[Caption], steps: int, guidance: float
) -> list[Image.Image]:
    """One picture for each caption, batch by batch through all sizes."""
    made: list[Image.Image] = []
    for start in range(0, len(captions), BATCH):
        width, height = BATCH_SIZES[start // BATCH % len(BATCH_SIZES)]
        texts = [caption.text for caption in captions[start : start + BATCH]]
        noise = torch.Generator().manual_seed(start)
        made += pipeline(
            texts, width=width, height=height, num_inference_steps=steps, guidance_scale=guidance, generator=noise
        ).images
    return made


def score_mentions(captions: list[Caption], read: list[dict[str, str]]) -> dict[str, tuple[int, int]]:
    """For each attribute: how often it was mentioned, and how often the picture agrees."""
    tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for caption, values in zip(captions, read, strict=True):
        for name, allowed in caption.mentions.items():
            tally[name][0] += 1
            tally[name][1] += values[name] in allowed
    return {name: (tally[name][0], tally[name][1]) for name in ATTRIBUTES if name in tally}


def format_table(scores: dict[str, tuple[int, int]], checker: dict[str, float]) -> str:
    """The table for the model card, in Markdown."""
    lines = ["| attribute | mentioned | right | model | checker on drawings |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, (asked, right) in scores.items():
        lines.append(f"| {name} | {asked} | {right} | {right / asked:.1%} | {checker[name]:.1%} |")
    average = sum(right / asked for asked, right in scores.values()) / len(scores)
    lines.append(f"| **average** | | | **{average:.1%}** | **{sum(checker.values()) / len(checker):.1%}** |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; 1 where the checker or the model falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--solver", choices=("ddim", "dpm++2m"), default="dpm++2m")
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of the first 24 pictures here")
    options = parser.parse_args()
    checker = load_checker()
    on_drawings = score_checker(checker)
    captions = held_out_captions(options.captions)
    pictures = make_pictures(load_model(options.model, options.solver), captions, options.steps, options.guidance)
    scores = score_mentions(captions, read_attributes(checker, pictures))
    table = format_table(scores, on_drawings)
    print(table)
    make_sheet(pictures, 16).save(cache_folder() / "evaluation.png")
    settings = {"count": len(captions), "steps": options.steps, "solver": options.solver, "guidance": options.guidance}
    record = {
        "table": table,
        "settings": settings,
        "captions": [c.text for c in captions],
        "scores": scores,
        "checker": on_drawings,
    }
    (cache_folder() / "evaluation.json").write_text(json.dumps(record, indent=1))
    if options.sheet:
        make_sheet([p for p in pictures if p.size == (256, 256)][:24], 6).save(options.sheet)
    model_score = sum(right / asked for asked, right in scores.values()) / len(scores)
    return int(model_score < MODEL_LEAST or sum(on_drawings.values()) / len(on_drawings) < CHECKER_LEAST)


if __name__ == "__main__":
    sys.exit(main())

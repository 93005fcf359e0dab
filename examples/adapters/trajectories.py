"""What the guided teacher does from noise to picture, recorded at the few moments that the student will visit."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from torch import Tensor

from ..landscapes.caption import write_caption
from ..landscapes.networks import DOWNSAMPLING, LATENT_CHANNELS, SIZES
from ..landscapes.run import log_line, save_checkpoint
from ..landscapes.scene import sample_scene
from .rotation import STEPS

GUIDANCE = 4.0
FINE_STEPS = 8
SHARD, BATCH = 64, 16
SHARDS: Mapping[tuple[int, int], int] = {(256, 256): 3, (192, 192): 4}
FIRST_SEED = 15_000_000


def plan_trajectories() -> list[tuple[tuple[int, int], int]]:
    """The size and the seed of each shard, all sizes in turn, so that training may begin with some of them."""
    planned = [
        ((number + 1) / count, size, FIRST_SEED + 1000 * SIZES.index(size) + number)
        for size, count in SHARDS.items()
        for number in range(count)
    ]
    return [(size, seed) for _, size, seed in sorted(planned)]


@torch.no_grad()
def follow_teacher(pipeline: StableDiffusionPipeline, texts: list[str], noise: Tensor) -> Tensor:
    """The teacher's states before each of the student's steps and at the end: (n, STEPS + 1, 12, h, w)."""
    kept = [noise]

    def keep(_: Any, step: int, __: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if (step + 1) % (FINE_STEPS // STEPS) == 0:
            kept.append(values["latents"].clone())
        return values

    height, width = (DOWNSAMPLING * side for side in noise.shape[-2:])
    pipeline(
        texts,
        height=height,
        width=width,
        num_inference_steps=FINE_STEPS,
        guidance_scale=GUIDANCE,
        latents=noise,
        output_type="latent",
        callback_on_step_end=keep,
    )
    return torch.stack(kept, dim=1)


def record_shard(pipeline: StableDiffusionPipeline, size: tuple[int, int], seed: int) -> dict[str, Any]:
    """A shard of states in half precision, and their captions."""
    rng, source = random.Random(seed), torch.Generator().manual_seed(seed)
    texts = [write_caption(sample_scene(rng), rng).text for _ in range(SHARD)]
    shape = (LATENT_CHANNELS, size[1] // DOWNSAMPLING, size[0] // DOWNSAMPLING)
    states = []
    for first in range(0, SHARD, BATCH):
        noise = torch.randn(BATCH, *shape, generator=source).to(pipeline.device)
        states.append(follow_teacher(pipeline, texts[first : first + BATCH], noise).half().cpu())
    return {"states": torch.cat(states), "texts": texts}


def record_trajectories(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the shards that are missing."""
    (folder / "trajectories").mkdir(parents=True, exist_ok=True)
    own, pipeline.scheduler = pipeline.scheduler, DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    for size, seed in plan_trajectories():
        path = trajectory_path(folder, size, seed)
        if not path.exists():
            save_checkpoint(path, record_shard(pipeline, size, seed))
            log_line("trajectories", folder, seed=seed)
    pipeline.scheduler = own


def trajectory_path(folder: Path, size: tuple[int, int], seed: int) -> Path:
    """Where a shard lies."""
    return folder / "trajectories" / f"{size[0]}x{size[1]}-{seed}.pt"


class TrajectoryPool:
    """The recorded shards in memory, drawn from in batches of one size."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.shards = [
            torch.load(path, weights_only=True)
            for size, shard_seed in plan_trajectories()
            if (path := trajectory_path(folder, size, shard_seed)).exists()
        ]

    def draw(self, count: int) -> tuple[Tensor, list[str]]:
        """States (count, STEPS + 1, 12, h, w) and captions from one shard."""
        shard = self.rng.choice(self.shards)
        rows = self.rng.sample(range(len(shard["texts"])), count)
        return shard["states"][rows].float(), [shard["texts"][row] for row in rows]

"""A pool of encoded scenes on disk, so that the denoiser never waits for drawing or encoding."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .draw import draw_scene
from .networks import SIZES, build_autoencoder
from .run import Budget, cache_folder, load_checkpoint, log_line, pick_device, save_checkpoint
from .scene import ATTRIBUTES, Scene, sample_scene, scene_labels
from .vae_stage import to_tensor

SHARD = 512
SHARDS = {(192, 192): 12, (256, 256): 6, (320, 192): 3, (192, 320): 3}


def scene_of(labels: Tensor) -> Scene:
    """The scene a row of labels stands for."""
    return Scene(*(values[int(i)] for values, i in zip(ATTRIBUTES.values(), labels, strict=True)))


@torch.no_grad()
def encode_shard(model: AutoencoderKL, size: tuple[int, int], seed: int, count: int) -> dict[str, Tensor]:
    """Draw and encode scenes; latents are stored in half precision, already centred and of unit spread."""
    rng, device = random.Random(seed), next(model.parameters()).device
    latents: list[Tensor] = []
    labels: list[list[int]] = []
    while len(labels) < count:
        scenes = [sample_scene(rng) for _ in range(8)]
        pixels = torch.stack([to_tensor(draw_scene(scene, *size, rng)) for scene in scenes]).to(device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        latents.append(model.encode(pixels).latent_dist.mean.half().cpu())
        labels += [scene_labels(scene) for scene in scenes]
    return {"latents": torch.cat(latents).contiguous(), "labels": torch.tensor(labels, dtype=torch.uint8)}


def shard_paths(size: tuple[int, int]) -> list[Path]:
    """The shards of one picture size, oldest first."""
    return sorted((cache_folder() / "pool").glob(f"{size[0]}x{size[1]}-*.pt"))


def fill_pool(budget_s: float) -> None:
    """Add shards, keeping the sizes in proportion, until all are there or the seconds of work are spent."""
    device = pick_device()
    model = build_autoencoder().to(device, memory_format=torch.channels_last).eval()
    state = load_checkpoint(cache_folder() / "frozen.pt", device)
    if state is None:
        raise FileNotFoundError("no frozen autoencoder; run the `freeze` stage first")
    model.load_state_dict(state["average"])
    (cache_folder() / "pool").mkdir(exist_ok=True)
    budget = Budget(budget_s, 0.0)
    while budget.tick() < 1 and (short := [s for s in SHARDS if len(shard_paths(s)) < SHARDS[s]]):
        size = min(short, key=lambda s: (len(shard_paths(s)) + 1) / SHARDS[s])
        number = len(shard_paths(size))
        seed = 3_000_000 + 1000 * SIZES.index(size) + number
        shard = encode_shard(model, size, seed, SHARD)
        save_checkpoint(cache_folder() / "pool" / f"{size[0]}x{size[1]}-{number:04}.pt", shard)
        log_line("pool", width=size[0], height=size[1], shard=number, spent_s=budget.spent_s)


def load_pool(size: tuple[int, int]) -> dict[str, Tensor] | None:
    """Everything encoded at one size, or nothing yet."""
    shards = [torch.load(path, weights_only=True) for path in shard_paths(size)]
    if not shards:
        return None
    return {key: torch.cat([shard[key] for shard in shards]) for key in ("latents", "labels")}

"""Styled scenes, drawn, filtered and encoded once, kept on disk in shards."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..landscapes.caption import write_caption
from ..landscapes.draw import draw_scene
from ..landscapes.networks import SIZES
from ..landscapes.pool import scene_of
from ..landscapes.run import log_line, save_checkpoint
from ..landscapes.scene import sample_scene, scene_labels
from ..landscapes.vae_stage import to_tensor
from .filters import STYLES

SHARD = 64
SHARDS: Mapping[tuple[int, int], int] = {(192, 192): 3, (256, 256): 1}
COUNTS: Mapping[tuple[int, int], int] = {(192, 192): 6, (256, 256): 4}
FIRST_SEED = 13_000_000
DROPOUT = 0.1


def plan_shards(style: str, shards: Mapping[tuple[int, int], int] = SHARDS) -> list[tuple[tuple[int, int], int]]:
    """The size and the seed of each shard of a style; no seed serves twice, nor anywhere else in the recipes."""
    first = FIRST_SEED + 10_000 * list(STYLES).index(style)
    return [(size, first + 1000 * SIZES.index(size) + n) for size, count in shards.items() for n in range(count)]


@torch.no_grad()
def encode_styled(model: AutoencoderKL, style: str, size: tuple[int, int], seed: int, count: int) -> dict[str, Tensor]:
    """Draw, filter and encode scenes: half-precision latents (n, 12, h / 16, w / 16) and the scenes' labels."""
    rng, latents, labels = random.Random(seed), [], []
    for _ in range(count):
        scene = sample_scene(rng)
        picture = STYLES[style](draw_scene(scene, *size, rng))
        latents.append(model.encode(to_tensor(picture)[None].to(model.device)).latent_dist.mean.half().cpu())
        labels.append(scene_labels(scene))
    return {"latents": torch.cat(latents), "labels": torch.tensor(labels, dtype=torch.uint8)}


def fill_styled_pool(model: AutoencoderKL, style: str, folder: Path) -> None:
    """Write the shards that are missing."""
    (folder / "pool").mkdir(parents=True, exist_ok=True)
    for size, seed in plan_shards(style):
        path = shard_path(folder, style, size, seed)
        if not path.exists():
            save_checkpoint(path, encode_styled(model, style, size, seed, SHARD))
            log_line(f"{style}-pool", folder, seed=seed)


def shard_path(folder: Path, style: str, size: tuple[int, int], seed: int) -> Path:
    """Where a shard lies."""
    return folder / "pool" / f"{style}-{size[0]}x{size[1]}-{seed}.pt"


class StyledPool:
    """A style's shards in memory, drawn from in batches of one size, with captions written afresh."""

    def __init__(self, style: str, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.by_size: dict[tuple[int, int], dict[str, Tensor]] = {}
        for size in SHARDS:
            held = [torch.load(p, weights_only=True) for p in sorted(self._paths(style, folder, size))]
            self.by_size[size] = {key: torch.cat([shard[key] for shard in held]) for key in ("latents", "labels")}

    @staticmethod
    def _paths(style: str, folder: Path, wanted: tuple[int, int]) -> Iterator[Path]:
        return (shard_path(folder, style, size, seed) for size, seed in plan_shards(style) if size == wanted)

    def draw(self) -> tuple[Tensor, list[str]]:
        """A batch of latents and captions; a tenth of the captions are empty, for guidance."""
        size = self.rng.choices(list(SHARDS), list(SHARDS.values()))[0]
        pool = self.by_size[size]
        rows = [self.rng.randrange(len(pool["latents"])) for _ in range(COUNTS[size])]
        texts = [self._caption(pool["labels"][row]) for row in rows]
        return pool["latents"][rows].float(), texts

    def _caption(self, labels: Tensor) -> str:
        return "" if self.rng.random() < DROPOUT else write_caption(scene_of(labels), self.rng).text

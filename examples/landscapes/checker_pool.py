"""Pictures for the checker that have been through the autoencoder, as a model's pictures will have been."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .checker import shrink
from .export_stage import load_pipeline
from .networks import SIZES
from .pool import load_pool
from .vae_stage import to_picture

PER_SIZE = 300


@torch.no_grad()
def _decode(model: AutoencoderKL, latents: Tensor) -> list[Tensor]:
    noisy = latents.float() + 0.15 * torch.rand(()) * torch.randn(latents.shape)
    return [shrink(to_picture(pixels)) for pixels in model.decode(noisy).sample]


def round_trips() -> tuple[Tensor, Tensor]:
    """Shrunken decoded pictures from the pool's slightly disturbed latents, and their labels."""
    model, pixels, labels = load_pipeline().vae, [], []
    for size in SIZES:
        pool = load_pool(size)
        if pool is None:
            continue
        held = (torch.split(pool[key][:PER_SIZE], 10) for key in ("latents", "labels"))
        for latents, rows in zip(*held, strict=True):
            pixels += _decode(model, latents)
            labels += rows.long()
    return torch.stack(pixels), torch.stack(labels)

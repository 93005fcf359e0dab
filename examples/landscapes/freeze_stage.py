"""Fixing the latents: the autoencoder's averaged weights, with its latents centred and scaled."""

from __future__ import annotations

import random

import torch
from diffusers import AutoencoderKL

from .draw import draw_scene
from .networks import LATENT_CHANNELS, build_autoencoder
from .run import cache_folder, load_checkpoint, save_checkpoint
from .scene import sample_scene
from .vae_stage import to_tensor

SCENES = 96


@torch.no_grad()
def measure_latents(model: AutoencoderKL) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread of each latent channel over fresh scenes."""
    rng, latents = random.Random(4_000_000), []
    for _ in range(SCENES // 8):
        pixels = torch.stack([to_tensor(draw_scene(sample_scene(rng), 192, 192, rng)) for _ in range(8)])
        latents.append(model.encode(pixels).latent_dist.mean)
    stacked = torch.cat(latents)
    return stacked.mean(dim=(0, 2, 3)), stacked.std(dim=(0, 2, 3))


@torch.no_grad()
def fold_scale(model: AutoencoderKL, mean: torch.Tensor, spread: torch.Tensor) -> None:
    """Put the centring into the two 1x1 convolutions around the latents, so that no pipeline needs to know of it."""
    quant, post = model.quant_conv, model.post_quant_conv
    kept = slice(0, LATENT_CHANNELS)
    post.bias += (post.weight[:, :, 0, 0] * mean).sum(dim=1)
    post.weight *= spread[None, :, None, None]
    quant.weight[kept] /= spread[:, None, None, None]
    quant.bias[kept] = (quant.bias[kept] - mean) / spread
    quant.bias[LATENT_CHANNELS:] -= 2 * spread.log()


def freeze_autoencoder(budget_s: float) -> None:
    """Write frozen.pt once; a second run leaves it alone, because the pool and the denoiser depend on it."""
    target = cache_folder() / "frozen.pt"
    state = load_checkpoint(cache_folder() / "vae.pt", torch.device("cpu"))
    if target.exists() or state is None:
        return
    model = build_autoencoder().eval()
    model.load_state_dict(state["average"])
    fold_scale(model, *measure_latents(model))
    mean, spread = measure_latents(model)
    print("latents after folding:", mean.abs().max().item(), spread.min().item(), spread.max().item())
    save_checkpoint(target, {"average": model.state_dict()})

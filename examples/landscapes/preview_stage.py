"""A linear map from latents to colours, kept in the autoencoder's configuration: previews then need no decode."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from .draw import draw_scene
from .export_stage import BUNDLED
from .networks import DOWNSAMPLING, LATENT_CHANNELS, SIZES
from .scene import sample_scene
from .vae_stage import to_tensor

SEED, SCENES = 8_000_000, 200
KEY = "_latent_rgb_factors"  # read by darkroom's previews; diffusers keeps what begins with an underscore


@torch.no_grad()
def latents_and_colours(model: AutoencoderKL, seed: int, scenes: int) -> tuple[Tensor, Tensor]:
    """Latent pixels of drawn scenes with a one behind them, and the mean colour (-1 to 1) each is decoded to."""
    rng = random.Random(seed)
    latents, colours = [], []
    for _ in range(scenes):
        pixels = to_tensor(draw_scene(sample_scene(rng), *rng.choice(SIZES), rng))[None]
        encoded = model.encode(pixels).latent_dist.mean
        decoded = F.avg_pool2d(model.decode(encoded).sample.clamp(-1, 1), DOWNSAMPLING)
        latents.append(encoded[0].flatten(1).T)
        colours.append(decoded[0].flatten(1).T)
    stacked = torch.cat(latents)
    return torch.cat([stacked, torch.ones(len(stacked), 1)], dim=1), torch.cat(colours)


def fit_preview(budget_s: float = 0.0, folder: Path = BUNDLED) -> None:
    """Write one row of three a latent channel, then what is added to every pixel; least squares."""
    model = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    latents, colours = latents_and_colours(model, SEED, SCENES)
    factors = torch.linalg.lstsq(latents, colours).solution
    assert factors.shape == (LATENT_CHANNELS + 1, 3)
    path = folder / "vae" / "config.json"
    config = {**json.loads(path.read_text()), KEY: [[round(value, 4) for value in row] for row in factors.tolist()]}
    path.write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n")
    left = (latents @ factors - colours).square().mean() / colours.var()
    print(f"{path}: the map explains {1 - left.item():.1%} of the colours")

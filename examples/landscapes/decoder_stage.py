"""Sharpening the decoder while the encoder, and so every pooled latent, stays as it is."""

from __future__ import annotations

from functools import partial

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .course import Course
from .networks import build_autoencoder
from .run import cache_folder, load_checkpoint, pick_device
from .shares import Shares
from .vae_stage import CropPool, picture_loss, write_round_trips

PEAK_RATE = 1e-3
CROPS = ((0.7, 96, 4), (1.0, 192, 2))
LATENT_NOISE = 0.1


def decoder_loss(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    """The round trip's error on latents disturbed about as much as a denoiser's are."""
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        latents = model.encode(pixels).latent_dist.mean
    strength = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, device=latents.device)
    return picture_loss(model.decode(latents + strength * torch.randn_like(latents)).sample, pixels)


def load_frozen(device: torch.device) -> AutoencoderKL:
    """The frozen autoencoder with only its decoder free to change."""
    state = load_checkpoint(cache_folder() / "frozen.pt", device)
    if state is None:
        raise FileNotFoundError("no frozen autoencoder; run the `freeze` stage first")
    model = build_autoencoder().to(device, memory_format=torch.channels_last)
    model.load_state_dict(state["average"])
    model.encoder.requires_grad_(False)
    model.quant_conv.requires_grad_(False)
    return model


def tune_decoder(budget_s: float) -> None:
    """Train for a number of seconds of work, or go on where the last run stopped."""
    device = pick_device()
    model = load_frozen(device)
    free = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(free, PEAK_RATE, betas=(0.9, 0.98), fused=True)
    course = Course("decoder", model, optimiser, PEAK_RATE)
    pool, shares = CropPool(8_000_000 + course.step), Shares(model)
    course.begin(budget_s)
    while course.prepare():
        side, count = next((side, count) for until, side, count in CROPS if course.share <= until)
        pixels = pool.batch(count, side).to(device)
        loss = shares.backward([partial(decoder_loss, model, part) for part in pixels.chunk(shares.count)])
        torch.nn.utils.clip_grad_norm_(free, 1.0)
        optimiser.step()
        if course.record(loss):
            write_round_trips(course.average, device)

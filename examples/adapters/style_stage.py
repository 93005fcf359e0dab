"""Training a style: the denoiser's own loss on styled pictures, with only the adapter's layers free to change."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from ..landscapes.course import Course
from ..landscapes.denoiser_stage import velocity_loss
from ..landscapes.importance import weigh_channels
from ..landscapes.run import pick_device
from ..landscapes.text_stage import read_tokens
from .layers import ADAPTERS, STYLE_LAYERS, Layers, add_layers, load_bundled, save_layers
from .styled_pool import StyledPool, fill_styled_pool

LAYERS = Layers(8, STYLE_LAYERS)
PEAK_RATE = 4e-3


def train_style(style: str, budget_s: float, folder: Path, out: Path = ADAPTERS) -> None:
    """Train for a number of seconds of work, or go on where the last run stopped, and save what there is."""
    pipeline = load_bundled().to(pick_device())
    fill_styled_pool(pipeline.vae, style, folder)
    weights = add_layers(pipeline.unet, LAYERS)
    course = open_course(style, weights, PEAK_RATE, folder)
    pool = StyledPool(style, folder, 14_000_000 + course.step)
    balance = weigh_channels(pipeline.vae, pool.by_size[256, 256]["latents"][:12].float().to(pipeline.device))
    course.begin(budget_s)
    while course.prepare():
        latents, texts = pool.draw()
        states = read_captions(pipeline, texts)
        latents = latents.to(pipeline.device)
        loss = velocity_loss(pipeline.unet, pipeline.scheduler, latents, states, balance)
        course.record(take_step(loss, weights, course.optimiser))
    write_adapter(pipeline, LAYERS, weights, course, out / style)


def open_course(stage: str, weights: nn.ParameterList, rate: float, folder: Path) -> Course:
    """Adam on the layers' weights, at its last checkpoint."""
    optimiser = torch.optim.AdamW(weights, rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    course = Course(stage, weights, optimiser, rate, folder)
    torch.manual_seed(course.step)
    return course


@torch.no_grad()
def read_captions(pipeline: StableDiffusionPipeline, texts: list[str]) -> Tensor:
    """What the denoiser is told, (n, 48, 128)."""
    ids = read_tokens(pipeline.tokenizer, texts, full=True).to(pipeline.device)
    states: Tensor = pipeline.text_encoder(input_ids=ids).last_hidden_state
    return states


def take_step(loss: Tensor, weights: nn.ParameterList, optimiser: torch.optim.Optimizer) -> float:
    """One step down the loss's gradient, which is clipped; returns the loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimiser.step()
    return loss.item()


def write_adapter(
    pipeline: StableDiffusionPipeline, layers: Layers, weights: nn.ParameterList, course: Course, folder: Path
) -> None:
    """Save the averaged weights and say how large the file is."""
    weights.load_state_dict(course.average.weights)
    file = save_layers(pipeline.unet, layers, folder)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")

"""Training the denoiser on pooled latents with captions written afresh at every step."""

from __future__ import annotations

import random
from functools import partial

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor

from .caption import write_caption
from .course import Course
from .export_stage import load_pipeline
from .importance import weigh_channels
from .networks import build_denoiser, build_schedule
from .pool import load_pool, scene_of
from .run import cache_folder, pick_device
from .shares import Shares
from .sheet import make_sheet
from .text_stage import open_vocabulary, read_tokens

PEAK_RATE = 1e-3
DROPOUT = 0.1
EARLY = {(192, 192): 94, (256, 256): 2, (320, 192): 2, (192, 320): 2}
LATE = {(192, 192): 46, (256, 256): 26, (320, 192): 14, (192, 320): 14}
PROMPTS = (
    "A beautiful sunset over mountains",
    "night, full moon over a lake, two pine trees",
    "a lighthouse on the right by the sea, sailboat, day",
    "a house on the left, several palm trees, dawn",
    "thunderstorm, purple mountains, hills",
    "snow falling, three red mountain ranges, a house",
    "a palm tree, the sun on the left, clouds",
    "rain at night, lighthouse on the left",
)


@torch.no_grad()
def start_calm(model: UNet2DConditionModel) -> None:
    """Silence every residual and attention branch and the output, so that each grows only as far as it helps."""
    for module in model.modules():
        last = module.conv2 if isinstance(module, ResnetBlock2D) else getattr(module, "proj_out", None)
        for layer in (last, getattr(module, "conv_out", None)):
            if layer is not None:
                layer.weight.zero_()
                layer.bias.zero_()


class LatentPool:
    """Latents by size with their scenes, as the pool held them at the start of this run."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.by_size = {size: load_pool(size) for size in LATE}

    def draw(self, share: float) -> tuple[Tensor, list[str]]:
        """A batch of one size with captions; small pictures carry most of the early training."""
        shares = EARLY if share < 0.5 else LATE
        held = [size for size in shares if self.by_size[size] is not None]
        size = self.rng.choices(held, [shares[s] for s in held])[0]
        pool = self.by_size[size]
        assert pool is not None
        count = 32 if size == (192, 192) else 20
        rows = torch.tensor([self.rng.randrange(len(pool["latents"])) for _ in range(count)])
        texts = [self._caption(label) for label in pool["labels"][rows]]
        return pool["latents"][rows].float(), texts

    def _caption(self, label: Tensor) -> str:
        if self.rng.random() < DROPOUT:
            return ""
        return write_caption(scene_of(label), self.rng).text


def sample_times(count: int) -> Tensor:
    """Training times, denser where composition is decided than at the nearly clean end."""
    middle = torch.sigmoid(torch.randn(count) * 1.1 + 0.5)
    times = torch.where(torch.rand(count) < 0.3, torch.rand(count), middle)
    return (times * 1000).long().clamp(0, 999)


def velocity_loss(
    model: UNet2DConditionModel, schedule: DDIMScheduler, latents: Tensor, states: Tensor, weights: Tensor
) -> Tensor:
    """Mean squared error of the velocity between noise and picture, weighted by channel."""
    noise, times = torch.randn_like(latents), sample_times(len(latents)).to(latents.device)
    noisy = schedule.add_noise(latents, noise, times)
    wanted = schedule.get_velocity(latents, noise, times)
    made = model(noisy, times, encoder_hidden_states=states).sample
    loss: Tensor = (weights * (made - wanted).square()).mean()
    return loss


def train_denoiser(budget_s: float) -> None:
    """Train for a number of seconds of work, or go on where the last run stopped."""
    device = pick_device()
    model = build_denoiser().to(device)
    start_calm(model)
    optimiser = torch.optim.AdamW(model.parameters(), PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    course = Course("denoiser", model, optimiser, PEAK_RATE)
    torch.manual_seed(course.step)
    pool = LatentPool(5_000_000 + course.step)
    task = DenoisingTask(model, pool.draw(0.0)[0][:12].to(device))
    course.begin(budget_s)
    while course.prepare():
        loss = task.backward(*pool.draw(course.share))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if course.record(loss):
            write_samples(load_pipeline(), course.step)


class DenoisingTask:
    """The loss of a batch: captions read, noise added, velocity compared, in shares side by side."""

    def __init__(self, model: UNet2DConditionModel, sample: Tensor) -> None:
        pipeline = load_pipeline().to(sample.device)
        self.model, self.device, self.schedule = model, sample.device, build_schedule()
        self.reader, self.tokenizer, self.shares = pipeline.text_encoder, open_vocabulary(), Shares(model)
        self.reader.requires_grad_(False)
        self.weights = weigh_channels(pipeline.vae, sample)

    def backward(self, latents: Tensor, texts: list[str]) -> float:
        """Leave the gradients on the model; returns the loss."""
        ids = read_tokens(self.tokenizer, texts, full=True)
        cuts = zip(latents.chunk(self.shares.count), ids.chunk(self.shares.count), strict=True)
        return self.shares.backward([partial(self._loss, part, words) for part, words in cuts])

    def _loss(self, latents: Tensor, ids: Tensor) -> Tensor:
        states = self.reader(input_ids=ids.to(self.device)).last_hidden_state
        return velocity_loss(self.model, self.schedule, latents.to(self.device), states, self.weights)


def write_samples(pipeline: StableDiffusionPipeline, step: int) -> None:
    """A sheet of what the averaged weights make of a few captions, always from the same noise."""
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(1)
    made = pipeline(list(PROMPTS), height=192, width=192, num_inference_steps=12, guidance_scale=4.0, generator=noise)
    make_sheet(made.images, 4).save(cache_folder() / f"samples-{step:06}.png")

"""Training the autoencoder on crops of fresh drawings."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .course import Course
from .draw import draw_scene
from .linear_start import start_linear
from .networks import SIZES, build_autoencoder
from .run import Average, cache_folder, pick_device
from .scene import sample_scene
from .shares import Shares
from .sheet import make_sheet

CROPS = ((0.6, 64, 6), (0.85, 128, 2), (1.0, 192, 2))
PEAK_RATE = 7e-4
NOISE_WEIGHT = 5e-5


def to_tensor(picture: Image.Image) -> Tensor:
    """Channels first, from -1 to 1."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 127.5 - 1


def to_picture(pixels: Tensor) -> Image.Image:
    """The picture a tensor from -1 to 1 stands for."""
    array = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(array)


class CropPool:
    """Drawings kept for a while, a few replaced at each step, because drawing costs as much as training on a crop."""

    def __init__(self, seed: int, size: int = 256, fresh: int = 1) -> None:
        self.rng = random.Random(seed)
        self.fresh = fresh
        self.pictures = [self._draw() for _ in range(size)]

    def _draw(self) -> Tensor:
        width, height = SIZES[self.rng.choices(range(4), (4, 2, 1, 1))[0]]
        return to_tensor(draw_scene(sample_scene(self.rng), width, height, self.rng))

    def batch(self, count: int, side: int) -> Tensor:
        """Crops aligned to 16 pixels, so that they see the same cells as whole pictures do."""
        for _ in range(self.fresh):
            self.pictures[self.rng.randrange(len(self.pictures))] = self._draw()
        return torch.stack([self._crop(self.rng.choice(self.pictures), side) for _ in range(count)])

    def whole(self, count: int) -> Tensor:
        """Pictures of the default size."""
        return torch.stack([p for p in self.pictures if p.shape[1:] == (256, 256)][:count])

    def _crop(self, picture: Tensor, side: int) -> Tensor:
        top = 16 * self.rng.randrange(max(0, picture.shape[1] - side) // 16 + 1)
        left = 16 * self.rng.randrange(max(0, picture.shape[2] - side) // 16 + 1)
        return picture[:, top : top + side, left : left + side]


def crop_plan(share: float) -> tuple[int, int]:
    """How many crops of what side in pixels: many small ones first, then large ones, whose averages match pictures."""
    return next((count, side) for until, side, count in CROPS if share <= until)


def picture_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """Absolute error from single pixels to whole cells, so that colours come early, plus the error of edges."""
    total = made.new_zeros(())
    for edges in (0.5, 0.25, 0.25, 0.0, 0.0):
        total = total + 0.5 * (made - wanted).abs().mean() + 0.5 * (made - wanted).square().mean()
        for axis in (-1, -2) if edges else ():
            total = total + edges * (made.diff(dim=axis) - wanted.diff(dim=axis)).abs().mean()
        made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
    return total


def train_autoencoder(budget_s: float) -> None:
    """Train for a number of seconds of work, or go on where the last run stopped."""
    device = pick_device()
    model = build_autoencoder().to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
    course = Course("vae", model, optimiser, PEAK_RATE)
    pool, shares = CropPool(1_000_000 + course.step), Shares(model)
    if course.step == 0:
        start_linear(model, pool.whole(48).to(device))
        course.average.restart(model)
    course.begin(budget_s)
    while course.prepare():
        pixels = pool.batch(*crop_plan(course.share)).to(device)
        loss = shares.backward([partial(codec_loss, model, part) for part in pixels.chunk(shares.count)])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if course.record(loss):
            write_round_trips(course.average, device)


def codec_loss(model: AutoencoderKL, pixels: Tensor) -> Tensor:
    """The round trip's error; a small pull towards noise keeps nearby latents meaning nearby pictures."""
    posterior = model.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist
    noise = (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean() / 2
    loss: Tensor = picture_loss(model.decode(posterior.sample()).sample, pixels) + NOISE_WEIGHT * noise
    return loss


@torch.no_grad()
def write_round_trips(average: Average, device: torch.device) -> None:
    """A sheet of drawings, each beside what the autoencoder makes of it."""
    model = build_autoencoder().to(device).eval()
    model.load_state_dict(average.weights)
    rng, pictures = random.Random(7), []
    for _ in range(9):
        drawn = draw_scene(sample_scene(rng), 256, 256, rng)
        latents = model.encode(to_tensor(drawn)[None].to(device)).latent_dist.mean
        pictures += [drawn, to_picture(model.decode(latents).sample[0])]
    make_sheet(pictures, 6).save(cache_folder() / "vae.png")

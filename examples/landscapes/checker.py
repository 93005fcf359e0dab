"""A small network that reads a scene's attributes back from its pixels."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .course import Course
from .draw import draw_scene
from .networks import SIZES
from .scene import ATTRIBUTES, sample_scene, scene_labels

SIDE = 128
WEIGHTS = Path(__file__).with_name("checker.safetensors")
COUNTS = [len(values) for values in ATTRIBUTES.values()]
DRAWN, BATCH, PEAK_RATE = 5000, 64, 2e-3


class Checker(nn.Module):
    """Four strided convolutions, then one score per value of each attribute; under 400 kB in half precision."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 48, 64)
        layers: list[nn.Module] = []
        for index in range(4):
            size = 5 if index == 0 else 3
            layers += [nn.Conv2d(widths[index], widths[index + 1], size, 2, size // 2, bias=False)]
            layers += [nn.BatchNorm2d(widths[index + 1]), nn.ReLU()]
        self.look = nn.Sequential(*layers, nn.Conv2d(64, 20, 1), nn.Flatten(), nn.ReLU())
        self.name = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(20 * (SIDE // 16) ** 2, 96), nn.ReLU(), nn.Linear(96, sum(COUNTS))
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Scores for a batch of SIDE x SIDE pictures from -1 to 1."""
        scores: Tensor = self.name(self.look(pixels))
        return torch.split(scores, COUNTS, dim=1)


def shrink(picture: Image.Image) -> Tensor:
    """Any picture squeezed to the checker's square, as bytes."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)


def load_checker(path: Path = WEIGHTS) -> Checker:
    """The shipped checker, in full precision."""
    model = Checker()
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
    )
    return model.eval()


@torch.no_grad()
def read_attributes(model: Checker, pictures: Sequence[Image.Image]) -> list[dict[str, str]]:
    """The value of every attribute in each picture."""
    pixels = torch.stack([shrink(picture) for picture in pictures]).float() / 127.5 - 1
    best = [scores.argmax(dim=1).tolist() for scores in model(pixels)]
    return [
        {name: ATTRIBUTES[name][row[i]] for name, row in zip(ATTRIBUTES, best, strict=True)}
        for i in range(len(pictures))
    ]


def draw_labelled(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Shrunken drawings in every size, and their labels."""
    rng, pixels, labels = random.Random(seed), [], []
    for _ in range(count):
        scene = sample_scene(rng)
        pixels.append(shrink(draw_scene(scene, *rng.choice(SIZES), rng)))
        labels.append(scene_labels(scene))
    return torch.stack(pixels), torch.tensor(labels)


def disturb(pixels: Tensor) -> Tensor:
    """Blur, noise, brightness and a shift of up to three pixels, so that no exact edge is relied on."""
    shift = (int(torch.randint(-3, 4, ())), int(torch.randint(-3, 4, ())))
    pixels = torch.roll(pixels, shift, dims=(2, 3))
    if torch.rand(()) < 0.4:
        pixels = nn.functional.avg_pool2d(pixels, 3, 1, 1)
    gain = 1 + 0.08 * torch.randn(len(pixels), 3, 1, 1)
    return (pixels * gain + 0.05 * torch.rand(()) * torch.randn_like(pixels)).clamp(-1, 1)


def train_checker(budget_s: float) -> None:
    """Train on drawings and the autoencoder's versions of them, or go on with that; then save in half precision."""
    from .checker_pool import round_trips

    model = Checker().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    course = Course("checker", model, optimiser, PEAK_RATE)
    course.begin(budget_s)
    if course.share < 1:
        pairs = zip(draw_labelled(6_000_000, DRAWN), round_trips(), strict=True)
        pixels, labels = (torch.cat(pair) for pair in pairs)
        while course.prepare():
            rows = torch.randint(len(pixels), (BATCH,))
            course.record(take_step(model, optimiser, pixels[rows], labels[rows]))
    save_file({n: v.half() if v.is_floating_point() else v for n, v in model.state_dict().items()}, WEIGHTS)
    print({name: round(value, 4) for name, value in score_checker(load_checker()).items()})


def take_step(model: Checker, optimiser: torch.optim.Optimizer, pixels: Tensor, labels: Tensor) -> float:
    """One step on disturbed pictures; the loss summed over attributes."""
    scores = model(disturb(pixels.float() / 127.5 - 1))
    loss = torch.stack([nn.functional.cross_entropy(s, w) for s, w in zip(scores, labels.T, strict=True)]).sum()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


def score_checker(model: Checker, count: int = 600) -> dict[str, float]:
    """Share of fresh drawings whose attribute is read right, for each attribute."""
    pixels, labels = draw_labelled(7_000_000, count)
    with torch.no_grad():
        scores = model(pixels.float() / 127.5 - 1)
    right = [(s.argmax(1) == w).float().mean().item() for s, w in zip(scores, labels.T, strict=True)]
    return dict(zip(ATTRIBUTES, right, strict=True))

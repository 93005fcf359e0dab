"""What thirty-two different adapters in one batch cost: a UNet at SD 1.5's widths, each row with a LoRA of its own.

Random weights: what is measured does not depend on them. The UNet's forward is timed with the row-wise adapters that
the engine runs it with, against the same forward without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from darkroom.engine.adapters import Factors, Mix, Part
from darkroom.engine.lora import adapted

from .figure import Figure
from .progress import say
from .size import Lora, Size

FLOOR, AIM = 0.25, 0.05
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
FEED_FORWARD = (*ATTENTION, "net.0.proj", "net.2")
CONVOLUTIONS = (*FEED_FORWARD, "conv1", "conv2", "conv_shortcut", "proj_in", "proj_out", "time_emb_proj")
SETS = {"attention": ATTENTION, "with feed-forward": FEED_FORWARD, "with convolutions": CONVOLUTIONS}


def measure(size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """Each set of layers against none, interleaved; medians of the ratios."""
    lora = size.lora
    with torch.no_grad():
        unet: Any = _unet(lora.widths)
        forward = _forward(unet, lora)
        mixes = {name: _mixes(unet, targets, lora) for name, targets in SETS.items()}
        forward()
        rounds = [_round(unet, forward, mixes) for _ in range(size.pairs)]
    costs = {name: median(one[name] / one["none"] - 1 for one in rounds) for name in SETS}
    say(f"adapters: {', '.join(f'{name} +{cost:.1%}' for name, cost in costs.items())}")
    figures = [
        Figure(
            "adapters",
            f"{lora.rows} different, rank {lora.rank}, {name}: added",
            cost,
            "%",
            FLOOR if name == "attention" else None,
            AIM if name == "attention" else None,
            is_more_better=False,
        )
        for name, cost in costs.items()
    ]
    return figures, {"seconds": rounds, "size": asdict(lora)}


def _round(unet: Any, forward: Callable[[], None], mixes: dict[str, list[Mix]]) -> dict[str, float]:
    seconds = {"none": _timed(forward)}
    for name, mix in mixes.items():
        began = time.perf_counter()
        with adapted(unet, mix, by_row=False):
            forward()
        seconds[name] = time.perf_counter() - began
    return seconds


def _timed(function: Callable[[], None]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _unet(widths: tuple[int, ...]) -> UNet2DConditionModel:
    """Stable Diffusion 1.5's own where `widths` are its."""
    return UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=768, attention_head_dim=8).eval()


def _forward(unet: Any, lora: Lora) -> Callable[[], None]:
    latents = torch.randn(lora.rows, 4, lora.side, lora.side)
    steps, text = torch.full((lora.rows,), 500), torch.randn(lora.rows, 77, 768)
    return lambda: unet(latents, steps, text)


def _mixes(unet: Any, targets: Sequence[str], lora: Lora) -> list[Mix]:
    """One adapter of its own for each row."""
    layers = {
        path: layer
        for path, layer in unet.named_modules()
        if any(path.endswith(f".{target}") for target in targets) and hasattr(layer, "weight")
    }
    return [
        ((Part(str(k), {path: _factors(layer.weight, lora.rank) for path, layer in layers.items()}), 1.0),)
        for k in range(lora.rows)
    ]


def _factors(weight: torch.Tensor, rank: int) -> Factors:
    return Factors(torch.randn(rank, *weight.shape[1:]) / 100, torch.randn(weight.shape[0], rank) / 100)

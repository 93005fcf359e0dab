"""What is measured of one shape: the floor by FLOPs, seconds against rows, lone and joint images, and adapters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.engine.mixed_lora import ATTENTION
from darkroom.engine.adapters import Factors, Mix, Part
from darkroom.engine.compiling import eagerly
from darkroom.engine.engine import Engine
from darkroom.engine.lora import adapted

from .shapes import Shape

RANK = 16


def flops_of(shape: Shape) -> dict[str, float]:
    """FLOPs of a row of the denoiser, of a decode, and of an image; of a shape built on `meta`, where nothing runs."""
    vae = shape.pipe.vae
    side = shape.side // 8
    latents = torch.empty(1, vae.config.latent_channels, side, side, device="meta", dtype=vae.dtype)
    row = _counted(lambda: shape.denoiser(**shape.denoise(1, shape.side)))
    decode = _counted(lambda: vae.decode(latents))
    return {"row": row, "decode": decode, "image": row * shape.rows * shape.steps + decode}


def _counted(function: Callable[[], Any]) -> float:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        function()
    return float(counter.get_total_flops())


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """What this device reaches in one large product of matrices, in FLOP/s."""
    side = 8192 if device.type == "cuda" else 1024
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = min(timed(lambda: one @ other, device) for _ in range(8))
    return 2 * side**3 / seconds


def timed(function: Callable[[], Any], device: torch.device) -> float:
    """Seconds until its work is done on the device."""
    _settle(device)
    began = time.perf_counter()
    function()
    _settle(device)
    return time.perf_counter() - began


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@torch.no_grad()
def curve(shape: Shape, rows: Sequence[int], sides: Sequence[int], repeats: int) -> dict[int, dict[int, float]]:
    """Side -> rows -> median seconds of one forward."""
    found: dict[int, dict[int, float]] = {}
    for side in sides:
        found[side] = {}
        for count in rows:
            given = shape.denoise(count, side)
            forward = lambda given=given: shape.denoiser(**given)  # noqa: E731
            timed(forward, _device_of(shape))
            found[side][count] = median(timed(forward, _device_of(shape)) for _ in range(repeats))
    return found


def image_seconds(shape: Shape, engine: Engine, repeats: int) -> dict[str, float]:
    """Median seconds of one image: plain diffusers, and the engine with nothing beside it."""
    plain, served = [], []
    device = _device_of(shape)
    # In company first: rows beside others may run other kernels, and compiled blocks have a graph for them.
    for handle in [engine.submit(model=shape.name, seed=k, **shape.call()) for k in range(4)]:
        handle.result()
    for turn in range(repeats + 1):
        chance = torch.Generator().manual_seed(turn)
        with eagerly(True):  # its blocks are the engine's, compiled where that was asked for
            plain.append(timed(lambda: shape.pipe(**shape.call(), generator=chance), device))  # noqa: B023
        served.append(timed(lambda: engine.submit(model=shape.name, seed=turn, **shape.call()).result(), device))  # noqa: B023
    return {"plain": median(plain[1:]), "engine": median(served[1:])}


@torch.no_grad()
def adapters_added(shape: Shape, rows: int, repeats: int) -> float:
    """W7: what so many different adapters on the attention add to one forward, as a share."""
    device, given = _device_of(shape), shape.denoise(rows, shape.side)
    mixes = _mixes(shape.denoiser, rows)

    def forward() -> None:
        shape.denoiser(**given)

    def forward_adapted() -> None:
        with adapted(shape.denoiser, mixes, by_row=False):
            forward()

    pairs = [(timed(forward, device), timed(forward_adapted, device)) for _ in range(repeats + 1)]
    return median(with_them / without - 1 for without, with_them in pairs[1:])


def _mixes(denoiser: Any, rows: int) -> list[Mix]:
    layers = {
        path: layer
        for path, layer in denoiser.named_modules()
        if any(path.endswith(f".{target}") for target in ATTENTION) and hasattr(layer, "weight")
    }
    return [
        ((Part(str(number), {path: _factors(layer) for path, layer in layers.items()}), 1.0),) for number in range(rows)
    ]


def _factors(layer: Any) -> Factors:
    weight = layer.weight
    made = {"device": weight.device, "dtype": weight.dtype}
    down = torch.randn(RANK, *weight.shape[1:], **made) / 100
    return Factors(down, torch.randn(weight.shape[0], RANK, **made) / 100)


def _device_of(shape: Shape) -> torch.device:
    return torch.device(next(shape.denoiser.parameters()).device)

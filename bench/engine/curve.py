"""Seconds of one denoiser forward by its rows: what batching can give on this machine, and no engine in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from .figure import Figure
from .model import Model, Stopwatch, stopwatch
from .progress import say
from .size import Size
from .workload import Request

GAIN_FLOOR = 2.2  # of seconds per row, sixteen rows against two
DECODE_SHARE = 0.15  # of an image of twenty steps
ALONE_S = 4.0  # an image of twenty guided steps


@dataclass
class Curve:
    """Seconds of forwards by rows, as measured round after round."""

    rounds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, seconds: dict[int, float]) -> None:
        """Take one round in."""
        for rows, spent in seconds.items():
            self.rounds.setdefault(rows, []).append(spent)

    def medians(self) -> dict[int, float]:
        """Rows -> median seconds."""
        return {rows: median(spent) for rows, spent in sorted(self.rounds.items())}

    def gain(self, few: int, many: int) -> float:
        """How many times less a row costs among many than among few; the median over rounds, each with itself."""
        pairs = zip(self.rounds[few], self.rounds[many], strict=True)
        return median((one / few) / (other / many) for one, other in pairs)


class BareDenoiser:
    """Runs the bare denoiser at given row counts; inputs as a guided image at the model's own size has them."""

    def __init__(self, model: Model, rows: Sequence[int]) -> None:
        self._unet: Any = model.pipe.unet
        config, text = self._unet.config, model.pipe.text_encoder.config
        side, width, length = config.sample_size, config.cross_attention_dim, text.max_position_embeddings
        chance = torch.Generator().manual_seed(0)
        self._inputs = {
            n: (
                torch.randn(n, config.in_channels, side, side, generator=chance),
                torch.full((n,), 500),
                torch.randn(n, length, width, generator=chance),
            )
            for n in rows
        }

    @torch.no_grad()
    def round(self, repeats: int = 1) -> dict[int, float]:
        """Rows -> seconds of one forward, the median of `repeats`, small counts oftener: they jitter more."""
        return {rows: median(self._once(rows) for _ in range(repeats + 8 // rows)) for rows in self._inputs}

    def _once(self, rows: int) -> float:
        started = time.perf_counter()
        self._unet(*self._inputs[rows], return_dict=False)
        return time.perf_counter() - started


def measure(model: Model, size: Size) -> tuple[list[Figure], dict[str, Any]]:
    """The curve, and the decoder's share of an image of twenty steps, in alternation."""
    bare, curve, shares, alone = BareDenoiser(model, size.curve_rows), Curve(), [], []
    bare.round()
    for turn in range(size.pairs):
        curve.add(bare.round(2))
        decode_s, image_s = _decode_and_image_s(model, turn)
        shares.append(decode_s / image_s)
        alone.append(image_s)
        say(f"curve {turn + 1}/{size.pairs}")
    seconds = curve.medians()
    figures = [Figure("curve", f"one forward of {rows} rows", spent * 1000, "ms") for rows, spent in seconds.items()]
    figures.append(Figure("curve", "gain of 16 rows over 2, per row", curve.gain(2, 16), "x", GAIN_FLOOR, GAIN_FLOOR))
    share = median(shares)
    figures.append(Figure("curve", "decode's share of 20 steps", share, "%", DECODE_SHARE, DECODE_SHARE, False))
    figures.append(Figure("curve", "20 steps with guidance, alone", median(alone), "s", ALONE_S, ALONE_S, False))
    return figures, {"seconds": seconds, "decode_share": share, "alone_s": alone}


def _decode_and_image_s(model: Model, turn: int) -> tuple[float, float]:
    request = Request(0, "a sunset over mountains", 20, 5.0, "ddim", turn)
    with stopwatch(model) as watch:
        image_s = _seconds_of(model, request)
    return watch.seconds["decode"], image_s


def _seconds_of(model: Model, request: Request) -> float:
    whole = Stopwatch()
    whole.timed("image", model.run)(request)
    return whole.seconds["image"]

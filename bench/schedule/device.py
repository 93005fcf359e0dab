"""What forwards cost on the devices that are simulated: seconds by size and rows, from measured curves."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from bench.engine.ideal import seconds_at

# Relative throughput of a step by rows on an H200, published; a lone row's seconds are ours to choose, as only ratios
# count. A size without a published curve is as fast as its pixels allow once the device is full.
H200_512 = {1: 1.0, 2: 1.82, 3: 2.69, 4: 2.77, 8: 3.14, 16: 3.21}
H200_1024 = {1: 1.0, 2: 1.02, 3: 1.02}
LONE_512_S = 0.020
FULL_512_S = LONE_512_S / max(H200_512.values())  # seconds of one row of many
# Milliseconds of the bundled model's denoiser, one thread, as docs/reference/figures.md has them.
BUNDLED_256_MS = {1: 49, 2: 60, 4: 91, 8: 152, 16: 263, 32: 457, 64: 963}


@dataclass(frozen=True)
class Device:
    """`step_s`: size -> rows -> seconds of a denoiser forward; `decode_s`: size -> seconds of one image's decode."""

    name: str
    step_s: Mapping[int, Mapping[int, float]]
    decode_s: Mapping[int, float]

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - a device lives as long as the program
    def seconds(self, size: int, kind: str, rows: int) -> float:
        """Of one forward; decodes take as long together as one after another."""
        return self.decode_s[size] * rows if kind == "decode" else seconds_at(self.step_s[size], rows)

    def __hash__(self) -> int:
        return id(self)


def _seconds(lone_s: float, throughput: Mapping[int, float]) -> dict[int, float]:
    return {rows: rows * lone_s / relative for rows, relative in throughput.items()}


def _full(size: int) -> float:
    return FULL_512_S * (size / 512) ** 2


def _between(size: int) -> dict[int, float]:
    """A lone row takes at least what one of 512x512 does; more rows cost what their pixels do."""
    return {rows: max(LONE_512_S, rows * _full(size)) for rows in (1, 2, 4, 8, 16)}


H200 = Device(
    "H200",
    {
        512: _seconds(LONE_512_S, H200_512),
        768: _between(768),
        1024: _seconds(1.02 * _full(1024), H200_1024),
        1536: _between(1536),
    },
    {size: 2 * _full(size) for size in (512, 768, 1024, 1536)},
)
BUNDLED = Device("bundled, 1 thread", {256: {rows: ms / 1e3 for rows, ms in BUNDLED_256_MS.items()}}, {256: 0.12})

"""Which device, precision and thread count a model runs with, and why: people are told."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..errors import InvalidConfig

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Placement:
    """Where a model runs; `kind` is cpu, cuda or mps, `name` what the maker calls it, `why` a phrase for people."""

    kind: str
    name: str
    dtype: str
    why: str

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch spells it."""
        return DTYPES[self.dtype]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}) in {self.dtype}: {self.why}"


def place(device: str = "auto", dtype: str = "auto") -> Placement:
    """The best device and precision there is, unless one is asked for; raises `InvalidConfig` for one that is not."""
    kind = best_device() if device == "auto" else device
    if kind not in devices():
        raise InvalidConfig(f"device {kind!r} is not there; this torch has: {', '.join(devices())}", field="device")
    if dtype != "auto":
        return Placement(kind, device_name(kind), dtype, "as its entry says")
    chosen, why = _best_dtype(kind)
    return Placement(kind, device_name(kind), chosen, why)


def devices() -> list[str]:
    """The kinds of device that torch can use here, best first."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [kind for kind, is_there in has.items() if is_there]


@contextlib.contextmanager
def stream_of_own() -> Iterator[None]:
    """On CUDA, what the block asks of the devices waits for nobody else's work there; at its end all of it is done.

    One stream of each device serves the process: memory that it gave back is taken again by the next block, not by
    others. Before anybody has used a device there is nobody to wait for.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        yield
        return
    with contextlib.ExitStack() as entered:
        for stream in reversed(_second_streams()):  # the first device's last: it is the current one then
            entered.callback(stream.synchronize)
            entered.enter_context(torch.cuda.stream(stream))
        yield


@functools.cache
def _second_streams() -> tuple[torch.cuda.Stream, ...]:
    return tuple(torch.cuda.Stream(number) for number in range(torch.cuda.device_count()))  # type: ignore[no-untyped-call]


def best_device() -> str:
    """cuda, else mps, else cpu."""
    return devices()[0]


def device_name(kind: str) -> str:
    """What its maker calls it."""
    if kind == "cuda":
        return str(torch.cuda.get_device_name())
    return platform.machine() or kind


def device_id(kind: str) -> str | None:
    """Which of a machine's devices this process has, unlike any other machine's; None for a CPU."""
    if kind != "cuda":
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return f"{platform.node()}:{visible or 0}"


def fix_threads(wanted: int | None, fixed_rows: int, workers: int = 1) -> int:
    """Set and return the number of CPU threads: a power of two that divides the fixed rows, or bits follow the place.

    `wanted` None takes the largest one within the cores that this process may use, of which `workers` are to have as
    many each.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = max(1, cores // workers)
    threads = wanted or 1 << (cores.bit_length() - 1)
    threads = min(threads, fixed_rows) if fixed_rows > 1 else threads
    torch.set_num_threads(threads)
    return threads


def _best_dtype(kind: str) -> tuple[str, str]:
    if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16", "the device computes fast in it, and nothing overflows"
    if kind in ("cuda", "mps"):
        return "float16", "the device is good at it, and has no fast bfloat16"
    return "float32", "a CPU is no faster in less"

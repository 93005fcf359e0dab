"""What an engine may be told beside its pipelines, and what it tells of each batch; no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Call
    from .handle import Handle


@dataclass(frozen=True)
class Tick:
    """One batch, as it ran: `at` seconds since the epoch, `rows` of `requests` requests in `seconds` of forwards.

    `parts`: whose rows they are, each call with how many.
    """

    at: float
    module: str
    kind: str
    rows: int
    padded_rows: int
    seconds: float
    requests: int
    parts: tuple[tuple[Handle, int], ...] = ()

    @classmethod
    def of(cls, batch: Sequence[Call], rows: int, padded_rows: int, seconds: float) -> Tick:
        """The batch that has just run."""
        parts = tuple((call.owner.handle, call.rows) for call in batch)
        return cls(time.time(), batch[0].hook.name, batch[0].kind, rows, padded_rows, seconds, len(batch), parts)


@dataclass(frozen=True)
class Options:
    """Less common settings of an engine.

    `shadow_check` compares the first batch of each shape with single calls. `encoder_cache_bytes` 0 switches the
    cache off. `adapter_bytes` bounds the adapters in memory, but for those in use. `memory_bytes` bounds what requests
    in flight may hold (None: a quarter of what is free). `on_tick` is called after each batch, in the engine's thread.
    `profile_path`: a file that keeps the measured curves. `tapes=False` records nothing to resume a request from.
    `compile=True` compiles the repeated blocks of denoisers at their first calls, which takes up to minutes.
    `decode_aside`: decodes run beside the denoiser, in a thread and on a CUDA stream of their own (None: where there is
    a CUDA device).
    """

    shadow_check: bool = True
    encoder_cache_bytes: int = 256 * 2**20
    adapter_bytes: int = 2**30
    host_threads: int = 2
    memory_bytes: int | None = None
    on_tick: Callable[[Tick], None] | None = None
    profile_path: Path | None = None
    tapes: bool = True
    compile: bool = False
    decode_aside: bool | None = None

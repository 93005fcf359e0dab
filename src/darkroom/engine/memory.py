"""How many requests may be in flight: predicted bytes of what a parked fiber holds against a budget."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from . import rows
from .call import Call

# A fiber keeps latents, scheduler history and guidance halves beside the arguments of its parked call.
HELD_PER_ARGUMENT_BYTE = 4
UNKNOWN_LIMIT = 32  # fibers at once until a first call has been seen


class Budget:
    """`budget_bytes` None takes a quarter of what is free now, on the accelerator where there is one."""

    def __init__(self, budget_bytes: int | None) -> None:
        self.budget_bytes = _free_bytes() // 4 if budget_bytes is None else budget_bytes
        self._bytes_per_fiber: dict[str, float] = {}

    def learn(self, model: str, call: Call) -> None:
        """Take the largest recent call as the measure of a model; one giant is forgotten in time."""
        seen = HELD_PER_ARGUMENT_BYTE * rows.bytes_of(call.arguments)
        self._bytes_per_fiber[model] = max(0.99 * self._bytes_per_fiber.get(model, 0.0), seen)

    def admits(self, running: Sequence[str]) -> bool:
        """Whether one more fiber fits beside those of the `running` models; the first always does."""
        if not running:
            return True
        if not self._bytes_per_fiber:
            return len(running) < UNKNOWN_LIMIT
        largest = max(self._bytes_per_fiber.values())
        return largest + sum(self._bytes_per_fiber.get(model, largest) for model in running) <= self.budget_bytes


def _free_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):  # not every system tells
        return 4 * 2**30

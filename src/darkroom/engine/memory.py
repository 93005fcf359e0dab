"""How many requests may be in flight: predicted bytes of what a parked fiber holds against a budget."""

from __future__ import annotations

import os

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
        self.bytes_per_fiber = 0

    def learn(self, call: Call) -> None:
        """Take the largest parked call as the measure of all."""
        self.bytes_per_fiber = max(self.bytes_per_fiber, HELD_PER_ARGUMENT_BYTE * rows.bytes_of(call.arguments))

    def admits(self, running: int) -> bool:
        """Whether one more fiber fits beside `running` others; the first always does."""
        if running == 0:
            return True
        if self.bytes_per_fiber == 0:
            return running < UNKNOWN_LIMIT
        return (running + 1) * self.bytes_per_fiber <= self.budget_bytes


def _free_bytes() -> int:
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):  # not every system tells
        return 4 * 2**30

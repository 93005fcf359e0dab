"""How many requests may be in flight: predicted bytes of what a parked fiber holds against a budget."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch

from . import rows
from .call import Call
from .cgroup import CGROUP, free_in_group

# A fiber keeps latents, scheduler history and guidance halves beside the arguments of its parked call.
HELD_PER_ARGUMENT_BYTE = 4
UNKNOWN_LIMIT = 32  # fibers at once until a first call has been seen


class Budget:
    """`said_bytes` None takes a quarter of what is free beside the models, on the accelerator where there is one."""

    def __init__(self, said_bytes: int | None) -> None:
        self._said_bytes = said_bytes
        self._bytes_per_fiber: dict[str, float] = {}
        self.measure()

    def measure(self) -> None:
        """Asked when a model has come or gone."""
        self.budget_bytes = _free_bytes() // 4 if self._said_bytes is None else self._said_bytes

    def forget(self, model: str) -> None:
        """A model that is served no longer measures nobody."""
        self._bytes_per_fiber.pop(model, None)

    def learn(self, model: str, call: Call, taped_bytes: float = 0) -> None:
        """Take the largest recent call as the measure of a model, its tape beside it; one giant is forgotten in time.

        `taped_bytes` are the tape's as it will be: in host memory, but counted in the one budget wherever that is.
        """
        self._take(model, HELD_PER_ARGUMENT_BYTE * rows.bytes_of(call.arguments) + taped_bytes)

    def expect(self, model: str, taped_bytes: float) -> None:
        """One with a tape is about to start."""
        if taped_bytes:
            self._take(model, taped_bytes)

    def _take(self, model: str, seen: float) -> None:
        self._bytes_per_fiber[model] = max(0.99 * self._bytes_per_fiber.get(model, 0.0), seen)

    def admits(self, running: Sequence[str]) -> bool:
        """Whether one more fiber fits beside those of the `running` models; the first always does."""
        return self.fits(running) > 0

    def fits(self, running: Sequence[str]) -> int:
        """How many more fibers fit beside those of the `running` models, each as large as the largest known."""
        per_fiber = self._bytes_per_fiber.copy()
        if per_fiber and (largest := max(per_fiber.values())):
            held = sum(per_fiber.get(model, largest) for model in running)
            count = int((self.budget_bytes - held) // largest)
        else:
            count = UNKNOWN_LIMIT - len(running)
        return max(count, 0 if running else 1)


def _free_bytes() -> int:
    if torch.cuda.is_available():
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # torch's own store of free blocks
        return torch.cuda.mem_get_info()[0] + kept
    return min(psutil.virtual_memory().available, free_in_group(CGROUP))

"""A training step cut into shares that run side by side, each on one CPU thread.

Two threads inside one operation wait for each other thousands of times in a step, which is slow on a busy machine;
two halves of a batch wait once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn


class Shares:
    """Runs one loss per share of the batch and leaves the mean gradient on the model."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.count = 1 if self.weights[0].is_cuda else torch.get_num_threads()
        if self.count > 1:
            torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(self.count)

    def backward(self, losses: Sequence[Callable[[], Tensor]]) -> float:
        """The mean of the losses; gradients are on the weights afterwards."""
        results = list(self._pool.map(self._differentiate, losses))
        total = list(results[0][1])
        for _, gradients in results[1:]:
            torch._foreach_add_(total, list(gradients))
        torch._foreach_div_(total, float(len(results)))
        for weight, gradient in zip(self.weights, total, strict=True):
            weight.grad = gradient
        return sum(value for value, _ in results) / len(results)

    def _differentiate(self, loss: Callable[[], Tensor]) -> tuple[float, tuple[Tensor, ...]]:
        with torch.enable_grad():
            value = loss()
            return value.item(), torch.autograd.grad(value, self.weights)

"""A stage's course through its budget: resuming, learning rate, averaging, loss curve and checkpoints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .run import Average, Budget, cache_folder, cosine_rate, load_checkpoint, log_line, save_checkpoint

SAVE_EVERY_S = 150.0  # by the clock
LOG_EVERY = 25


class Course:
    """Everything about a training run except its loss; rerun with the same stage name, it goes on where it stopped."""

    def __init__(
        self, stage: str, model: nn.Module, optimiser: torch.optim.Optimizer, peak: float, folder: Path | None = None
    ) -> None:
        self.stage, self.model, self.optimiser, self.peak = stage, model, optimiser, peak
        self.folder = folder or cache_folder()
        self.average = Average(model, 0.998)
        self.step, self.share, self.loss = 0, 0.0, 0.0
        self.state = self._resume()
        self._budget, self._saved_at = Budget(0.0, 0.0), time.monotonic()

    def begin(self, budget_s: float) -> None:
        """Start counting work towards the budget."""
        spent_s = self.state["spent_s"] if self.state else 0.0
        self._budget = Budget(budget_s, spent_s)
        self.share = min(1.0, spent_s / budget_s)

    def prepare(self) -> bool:
        """Set the learning rate of the next step; false once the budget is spent."""
        self.optimiser.param_groups[0]["lr"] = cosine_rate(self.share, self.peak)
        return self.share < 1

    def record(self, loss: float) -> bool:
        """Count a step just taken; true where a checkpoint was written."""
        self.step, self.share = self.step + 1, self._budget.tick()
        self.loss = 0.98 * self.loss + 0.02 * loss if self.loss else loss
        self.average.update(self.model, self.step)
        if self.step % LOG_EVERY == 0:
            log_line(self.stage, self.folder, step=self.step, loss=self.loss, spent_s=self._budget.spent_s)
        if time.monotonic() - self._saved_at < SAVE_EVERY_S and self.share < 1:
            return False
        self._save()
        return True

    def _resume(self) -> dict[str, Any] | None:
        device = next(self.model.parameters()).device
        state = load_checkpoint(self.folder / f"{self.stage}.pt", device)
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average.weights, self.step = state["average"], state["step"]
        return state

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step}
        state |= {"average": self.average.weights, "spent_s": self._budget.spent_s}
        save_checkpoint(self.folder / f"{self.stage}.pt", state)

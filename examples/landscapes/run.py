"""What every training stage shares: folders, checkpoints, averaging, learning rate and the loss curve."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn


def cache_folder() -> Path:
    """Where checkpoints, latents, curves and sheets go; never inside the repository."""
    base = os.environ.get("DARKROOM_LANDSCAPES", "~/.cache/darkroom/landscapes")
    folder = Path(base).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pick_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside the old file and swap, so that a kill never leaves half a checkpoint."""
    fresh = path.with_suffix(".tmp")
    torch.save(state, fresh)
    fresh.replace(path)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The last checkpoint, or nothing on a first run."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


class Average:
    """An exponential moving average of weights, short at first so that early samples are not the initial noise."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.restart(model)

    def restart(self, model: nn.Module) -> None:
        """Forget the past."""
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model's present weights."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - keep)


class Budget:
    """Progress in seconds of work: processor time, so that a paused run loses nothing; the clock on a GPU."""

    def __init__(self, total_s: float, spent_s: float) -> None:
        self.total_s, self.spent_s = total_s, spent_s
        self._clock = time.monotonic if torch.cuda.is_available() else time.process_time
        self._last = self._clock()

    def tick(self) -> float:
        """Count the work since the last tick; returns the share of the budget spent, from 0 to 1."""
        now = self._clock()
        self.spent_s, self._last = self.spent_s + now - self._last, now
        return min(1.0, self.spent_s / self.total_s) if self.total_s > 0 else 1.0


def cosine_rate(share: float, peak: float, warm: float = 0.02, floor: float = 0.02) -> float:
    """Learning rate at a share of the budget: a short rise, then half a cosine down to a fraction of the peak."""
    if share < warm:
        return peak * (0.05 + 0.95 * share / warm)
    fall = (share - warm) / (1 - warm)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fall)))


def log_line(stage: str, folder: Path | None = None, **values: float) -> None:
    """Append one point of the loss curve and print it."""
    record = {"stage": stage, **{key: round(value, 6) for key, value in values.items()}}
    with ((folder or cache_folder()) / "curves.jsonl").open("a") as out:
        out.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)

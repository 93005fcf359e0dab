"""Trains the adapters that ship: `python -m examples.adapters.train [neon|woodcut|turbo ...]`."""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

from .filters import STYLES
from .style_stage import train_style
from .turbo_stage import train_turbo

BUDGETS_S = {"neon": 300.0, "woodcut": 300.0, "turbo": 1200.0}


def adapters_folder() -> Path:
    """Where checkpoints, styled scenes and trajectories go; never inside the repository."""
    folder = Path(os.environ.get("DARKROOM_ADAPTERS", "~/.cache/darkroom/adapters")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    """Train the adapters asked for, or all of them; each goes on where it stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapters", nargs="*", metavar="adapter", help=f"any of {', '.join(BUDGETS_S)}; all by default")
    parser.add_argument("--budget-s", type=float, help="seconds of training for each adapter, instead of its own")
    options = parser.parse_args()
    for name in options.adapters or BUDGETS_S:
        train = partial(train_style, name) if name in STYLES else train_turbo
        train(options.budget_s or BUDGETS_S[name], adapters_folder())


if __name__ == "__main__":
    main()

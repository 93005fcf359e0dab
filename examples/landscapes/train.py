"""The one training script: every stage in order, each resumable, the whole in a few hours on two CPU cores."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable

import torch

STAGES = {
    "vae": ("vae_stage", "train_autoencoder", 900.0),
    "freeze": ("freeze_stage", "freeze_autoencoder", 0.0),
    "text": ("text_stage", "train_text_encoder", 180.0),
    "pool": ("pool", "fill_pool", 1500.0),
    "denoiser": ("denoiser_stage", "train_denoiser", 10_000.0),
    "decoder": ("decoder_stage", "tune_decoder", 900.0),
    "checker": ("checker", "train_checker", 150.0),
    "export": ("export_stage", "export_model", 0.0),
    "preview": ("preview_stage", "fit_preview", 0.0),
}


def stage(name: str) -> Callable[[float], None]:
    """The function that runs a stage, imported only when it is its turn."""
    module, function, _ = STAGES[name]
    found: Callable[[float], None] = getattr(importlib.import_module(f"examples.landscapes.{module}"), function)
    return found


def main() -> None:
    """Run the stages asked for, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"any of {', '.join(STAGES)}; all when left out")
    parser.add_argument("--budget-s", type=float, help="seconds of work for each stage named, instead of its own")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves the choice to torch")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.stages or STAGES:
        threads = torch.get_num_threads()
        stage(name)(options.budget_s or STAGES[name][2])
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()

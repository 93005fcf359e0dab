"""One thread count: run by `python -m bench.engine` in a process of its own, which writes what it found as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging

from . import arrivals, curve, gain, join, mixed_lora, model, parity, price, slo
from .figure import Figure
from .progress import say
from .size import Size


def run(folder: Path, threads: int, parts: list[str], size: Size) -> dict[str, Any]:
    """Figures and their details, part by part."""
    torch.set_num_threads(threads)
    logging.disable_progress_bar()
    plain, served = model.load(folder), model.load(folder)
    measures = {
        "curve": lambda: curve.measure(plain, size),
        "gain": lambda: gain.measure(plain, served, size),
        "join": lambda: join.measure(served, size),
        "arrivals": lambda: arrivals.measure(plain, served, size),
        "adapters": lambda: mixed_lora.measure(size),
        "parity": lambda: parity.measure(plain, served, size),
        "slo": lambda: slo.measure(plain, served, size),
        "reproducible": lambda: price.measure(served, size),
    }
    figures: list[Figure] = []
    details = {}
    for part in parts:
        say(f"{part}, torch threads: {threads}")
        found, details[part] = measures[part]()
        figures += found
    return {"threads": threads, "figures": [asdict(figure) for figure in figures], "details": details}


def main() -> None:
    """The order comes on stdin as JSON: folder, threads, parts, size, and where to write."""
    asked = json.load(sys.stdin)
    found = run(Path(asked["folder"]), asked["threads"], asked["parts"], Size.of(asked["size"]))
    Path(asked["out"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()

"""`python -m bench.residency`: seconds until a model is on its device, from disk and from host memory.

The bundled model and diffusers' own classes at several widths with random weights, in the folder layout that
`save_pretrained` writes. *Disk* is a load as a worker does it, with the page cache warm; *leaving* is the way out, the
first time with its copy made and later without; *host* is the way back. On a CPU the device is the host, and the way
back is a copy within one memory, while files are mapped and read at the first use: it shows what the seam costs, and
why nothing rests there. On CUDA it is a transfer from page-locked memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from darkroom.config import ModelSettings
from darkroom.models.catalogue import BUNDLED_FOLDER, FOLDER, Entry
from darkroom.models.device import device_name, place
from darkroom.models.footprint import weights_of
from darkroom.models.loading import Loaded, load
from darkroom.models.shelf import Shelf

WIDTHS = {"tiny": (32, 64), "small": (128, 256), "wide": (320, 640, 1280)}


@dataclass(frozen=True)
class Activation:
    """One model: its bytes, and the median seconds of each way."""

    model: str
    mib: float
    disk_s: float
    first_leave_s: float
    leave_s: float
    host_s: float


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.residency", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--widths", nargs="*", default=list(WIDTHS), choices=list(WIDTHS))
    parser.add_argument("--out", type=Path, default=Path("out/bench-residency.json"))
    asked = parser.parse_args()
    with folders(asked.widths) as found:
        told = [measure(name, folder, asked.rounds) for name, folder in found.items()]
    kind = place().kind
    print(f"{device_name(kind)} ({kind}), load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; seconds")
    print(f"{'model':12}{'MiB':>9}{'disk':>9}{'leaving':>9}{'again':>9}{'host':>9}")
    for one in told:
        row = (one.disk_s, one.first_leave_s, one.leave_s, one.host_s)
        print(f"{one.model:12}{one.mib:9.1f}" + "".join(f"{seconds:9.3f}" for seconds in row))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps({"device": kind, "models": [asdict(one) for one in told]}, indent=1), "utf-8")


@contextmanager
def folders(widths: list[str]) -> Iterator[dict[str, Path]]:
    """Model folders by name."""
    with tempfile.TemporaryDirectory() as scratch:
        found = {"landscapes": BUNDLED_FOLDER / "landscapes"}
        for name in widths:
            found[name] = Path(scratch) / name
            _save(found[name], WIDTHS[name])
        yield found


def _save(folder: Path, widths: tuple[int, ...]) -> None:
    """The bundled pipeline with a denoiser of these widths and random weights."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    pipe = StableDiffusionPipeline.from_pretrained(BUNDLED_FOLDER / "landscapes", use_safetensors=True)
    count = len(widths)
    pipe.unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=pipe.vae.config.latent_channels,
        out_channels=pipe.vae.config.latent_channels,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * count,
        up_block_types=("CrossAttnUpBlock2D",) * count,
        cross_attention_dim=pipe.text_encoder.config.hidden_size,
        norm_num_groups=16,
    )
    pipe.save_pretrained(folder)


def measure(name: str, folder: Path, rounds: int) -> Activation:
    """Load it, have it leave and come back, so many times."""
    spent: dict[str, list[float]] = {"disk": [], "first": [], "leave": [], "host": []}
    with tempfile.TemporaryDirectory() as home:
        entry = Entry(name, FOLDER, ModelSettings(path=folder), Path(home))
        load(entry, is_offline=True)  # imports, and the hash of its files
        for _ in range(rounds):
            loaded = _timed(spent["disk"], lambda: load(entry, is_offline=True))
            size = sum(weights_of(loaded.pipe, *loaded.beside).values())
            _there_and_back(loaded, Shelf(2 * size + 2**20), spent)
            del loaded
            gc.collect()
    first, *rest = (median(spent[key]) for key in ("disk", "first", "leave", "host"))
    return Activation(name, size / 2**20, first, *rest)


def _there_and_back(loaded: Loaded, shelf: Shelf, spent: dict[str, list[float]]) -> None:
    for key in ("first", "leave"):
        assert _timed(spent[key], lambda: shelf.put("it", loaded))
        assert _timed(spent["host"], lambda: shelf.take("it")) is loaded


def _timed(into: list[float], what: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    made = what()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    into.append(time.perf_counter() - began)
    return made


if __name__ == "__main__":
    main()

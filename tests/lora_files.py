"""LoRA files for the bundled model, made of numbers from a seed; no torch."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from darkroom.models.catalogue import BUNDLED_FOLDER

UNET = BUNDLED_FOLDER / "landscapes" / "unet" / "diffusion_pytorch_model.safetensors"
TARGETS = ("to_q.weight", "to_v.weight")
RANK = 2
PICKLED = pickle.dumps({"unet.lora_A.weight": [0.0]}, protocol=2)


def lora(seed: int, *, size: float = 0.05) -> bytes:
    """Rank 2 on the denoiser's queries and values, in peft's names."""
    rng, state = np.random.default_rng(seed), {}
    with safe_open(UNET, "np") as opened:
        for name in sorted(key for key in opened.keys() if key.endswith(TARGETS)):  # noqa: SIM118 - it is no mapping
            rows, columns = opened.get_slice(name).get_shape()
            layer = f"unet.{name.removesuffix('.weight')}"
            state[f"{layer}.lora_A.weight"] = size * rng.standard_normal((RANK, columns), np.float32)
            state[f"{layer}.lora_B.weight"] = size * rng.standard_normal((rows, RANK), np.float32)
    return save(state)


def weights(**tensors: tuple[int, ...]) -> bytes:
    """A safetensors file with zeros of these names and shapes."""
    return save({name: np.zeros(shape, np.float32) for name, shape in tensors.items()})


def put(path: Path, data: bytes) -> Path:
    """The file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path

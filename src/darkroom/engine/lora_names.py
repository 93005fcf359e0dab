"""What can be told of a LoRA file by its names alone, before anything reads its weights. No torch here."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from .. import errors

WEIGHTS_NAME = "pytorch_lora_weights.safetensors"  # what diffusers calls it in a folder
LORA = "lora"  # in every key of such a file: lora_A (peft), lora_down (kohya), .lora.down (older diffusers)
# Other ways to change weights, by what their files' keys hold.
OTHERS = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "lora_B.bias": "LoRA with biases",
    ".diff": "weight differences",
}


def find_file(path: str | Path) -> Path:
    """The weights' file; raises `MissingWeights`, and `UnsafeWeights` for what may be pickle."""
    found = Path(path)
    if found.is_dir():
        several = sorted(found.glob("*.safetensors"))
        found = several[0] if len(several) == 1 else found / WEIGHTS_NAME
    if not found.is_file():
        raise errors.MissingWeights(f"there is no adapter at {str(found)!r}", field="path")
    if found.suffix != ".safetensors":
        said = f"{found.name!r} is no safetensors file, and others may run code when they are read"
        raise errors.UnsafeWeights(f"{said}: convert it first", field="path")
    return found


def check_names(keys: Collection[str], said: str) -> None:
    """Raise `NotSupported` for adapters of another kind; `said` is what to call the file."""
    for mark, kind in OTHERS.items():
        if any(mark in key for key in keys):
            raise errors.NotSupported(f"{said} is a {kind} adapter; LoRA is what is supported", field="path")

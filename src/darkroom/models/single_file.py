"""Which component of its pipeline each weight of a single-file checkpoint is of, as far as names tell. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from .weights import values_by_name

DENOISER = "model.diffusion_model."
UNETS = f"{DENOISER}input_blocks."  # transformers under the same prefix have none
UNTOLD = ""  # the part of names that tell none
UNUSED = "model_ema."  # averages from training, which diffusers leaves where they are
PREFIXES: Mapping[str, str] = {
    "first_stage_model.": "vae",
    "vae.": "vae",
    "cond_stage_model.": "text_encoder",
    "conditioner.embedders.0.transformer.": "text_encoder",
    "conditioner.embedders.0.model.": "text_encoder_2",  # of SDXL's refiner, which has no other
    "conditioner.embedders.1.": "text_encoder_2",
    "text_encoders.clip_l.": "text_encoder",
    "text_encoders.clip_g.": "text_encoder_2",
    "text_encoders.t5xxl.": "text_encoder_3",
}


def values_by_part(path: Path) -> Mapping[str, int]:
    """How many numbers a safetensors file holds of each component, by its header; `UNTOLD`: of names that tell none."""
    values = values_by_name(path)
    is_unet = any(name.startswith(UNETS) for name in values)
    known = {DENOISER: "unet" if is_unet else "transformer", **PREFIXES}
    parts: Counter[str] = Counter()
    for name, count in values.items():
        if not name.startswith(UNUSED):
            parts[next((part for prefix, part in known.items() if name.startswith(prefix)), UNTOLD)] += count
    return parts

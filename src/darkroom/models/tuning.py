"""What makes a model's forwards faster or smaller, by its entry: off unless it is said, and recorded with its images.

Set once, at the load: modules in service are frozen. Compiling is the engine's (`engine/compiling.py`).
"""

from __future__ import annotations

from typing import Any

import torch

from ..config import ModelSettings
from ..engine.compiling import need_compiler
from ..errors import InvalidConfig
from .step_cache import can_cache

DENOISERS = ("unet", "transformer", "transformer_2", "controlnet")
CONVOLVING = ("unet", "vae", "controlnet")


def tune(pipe: Any, said: ModelSettings, name: str, dtype: torch.dtype, beside: dict[str, Any]) -> None:
    """Set up a loaded pipeline, and what is `beside` it, as its entry says; raises `InvalidConfig`, `NotSupported`."""
    parts = {**pipe.components, **beside}
    modules = {part: value for part, value in parts.items() if isinstance(value, torch.nn.Module)}
    denoisers = {part: module for part, module in modules.items() if part in DENOISERS}
    if said.channels_last:
        for part in CONVOLVING:
            if part in modules:
                modules[part].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if said.attention is not None:
        _set_attention(denoisers, said.attention, name)
    if said.float8:
        _store_in_float8(denoisers, name, dtype)
    if said.compile:
        need_compiler()
    if said.step_cache is not None and not can_cache(pipe):
        field = f"models.{name}.step_cache"
        raise InvalidConfig(f"{field}: {type(pipe).__name__} has no cache of steps; leave it out", field=field)


def _set_attention(denoisers: dict[str, Any], backend: str, name: str) -> None:
    """By diffusers' own dispatch."""
    from diffusers.models.attention_dispatch import AttentionBackendName

    field = f"models.{name}.attention"
    allowed = sorted(each.value for each in AttentionBackendName if not each.value.endswith("_hub"))  # those download
    if backend not in allowed:
        raise InvalidConfig(f"{field}: there is no {backend!r}; allowed: {', '.join(allowed)}", field=field)
    for part, module in denoisers.items():
        processors = [getattr(inner, "processor", None) for inner in module.modules()]
        if not any(hasattr(processor, "_attention_backend") for processor in processors):
            raise InvalidConfig(f"{field}: the {part} is a {type(module).__name__}, which has no choice", field=field)
        try:
            module.set_attention_backend(backend)
        except (RuntimeError, ValueError, ImportError, NotImplementedError) as error:
            raise InvalidConfig(f"{field}: {backend!r} does not run here: {error}", field=field) from error


def _store_in_float8(denoisers: dict[str, Any], name: str, dtype: torch.dtype) -> None:
    """Half the memory for some quality: layers are cast up as they run, norms and embeddings are left as they are."""
    for part, module in denoisers.items():
        if not hasattr(module, "enable_layerwise_casting"):
            field = f"models.{name}.float8"
            raise InvalidConfig(f"{field}: the {part} is a {type(module).__name__}, which cannot", field=field)
        module.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)

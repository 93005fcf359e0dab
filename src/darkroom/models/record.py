"""What must be known to make an image again: recorded with each one, and read back by `darkroom generate --like`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..storage import images
from .pipelines import PIPELINE
from .request import ImageRequest
from .step_cache import MARK

if TYPE_CHECKING:
    from ..config import ModelSettings
    from .loading import Loaded


def conditions_of(loaded: Loaded, fixed_rows: int, threads: int, *, origin: str | None = None) -> dict[str, Any]:
    """What decides the pixels beside the request; JSON. `origin`: where a model lies that no catalogue names."""
    entry = loaded.entry
    parts = {part.name: said for part in entry.parts if (said := _tuning_of(part.settings))} if entry.is_plain else {}
    tuning = parts or _tuning_of(entry.settings)
    return {
        "model": entry.name,
        **({"origin": origin} if origin is not None else {}),
        "revision": loaded.revision,
        **({"vae_tiling": True} if entry.settings.vae_tiling else {}),
        "fixed_rows": fixed_rows,
        "device": loaded.placement.kind,
        "device_name": loaded.placement.name,
        "dtype": loaded.placement.dtype,
        "threads": threads,
        **({"tuning": tuning} if tuning else {}),
        "versions": _versions(),
    }


def _tuning_of(said: ModelSettings) -> dict[str, Any]:
    """What of an entry decides bits beside its weights; what is off is left out."""
    shown = ("compile", "channels_last", "attention", "float8", "step_cache", "easy_cache", "offload")
    return {name: value for name in shown if (value := getattr(said, name)) not in (None, False, "none")}


def _applied(tuning: Mapping[str, Any], request: ImageRequest, pipe: Any, *, is_alone: bool) -> dict[str, Any]:
    """What of it made this image: reproducible requests run as nothing compiled does, and not every one is cached."""
    if request.task == PIPELINE:
        off = {"step_cache", "easy_cache", *(("compile",) if is_alone else ())}
        parts = {part: {k: v for k, v in said.items() if k not in off} for part, said in tuning.items()}
        return {part: said for part, said in parts.items() if said}
    off = {*(("compile", "easy_cache") if is_alone else ()), *(() if hasattr(type(pipe), MARK) else ("step_cache",))}
    return {name: value for name, value in tuning.items() if name not in off}


@functools.cache
def _versions() -> Mapping[str, str]:
    """Kept: reading them takes milliseconds."""
    return {"darkroom": __version__, **{name: version(name) for name in ("torch", "diffusers", "transformers")}}


def record(
    request: ImageRequest, pipe: Any, conditions: dict[str, Any], unsteady: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything that must be known to make an image again; JSON. `unsteady` is the handle's."""
    tuning = _applied(conditions.get("tuning", {}), request, pipe, is_alone=conditions.get("reproducible", True))
    conditions = {name: value for name, value in conditions.items() if name != "tuning"}
    adapters = {"adapter_digests": dict(request.adapter_digests)} if request.adapter_digests else {}
    pictures = {
        "image_sha256": request.image,
        "mask_sha256": request.mask_image,
        "control_sha256": request.control_image,
        "ip_adapter_sha256": request.ip_adapter_image,
    }
    digests = {name: images.digest(picture) for name, picture in pictures.items() if picture is not None}
    said: dict[str, Any] = {"task": request.task, "input": request.settings()}
    if request.task != PIPELINE:  # a plain pipeline has one of each model that it calls
        said["scheduler"] = type(getattr(pipe, "scheduler", None)).__name__
    if tuning:
        said["tuning"] = tuning
    if unsteady:
        said["unsteady"] = list(unsteady)
    return {**conditions, **digests, **adapters, **said}

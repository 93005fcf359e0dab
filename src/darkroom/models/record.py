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

if TYPE_CHECKING:
    from ..config import ModelSettings
    from .loading import Loaded


def conditions_of(loaded: Loaded, fixed_rows: int, threads: int, *, origin: str | None = None) -> dict[str, Any]:
    """What decides the pixels beside the request; JSON. `origin`: where a model lies that no catalogue names."""
    return {
        "model": loaded.entry.name,
        **({"origin": origin} if origin is not None else {}),
        "revision": loaded.revision,
        **({"vae_tiling": True} if loaded.entry.settings.vae_tiling else {}),
        "fixed_rows": fixed_rows,
        "device": loaded.placement.kind,
        "device_name": loaded.placement.name,
        "dtype": loaded.placement.dtype,
        "threads": threads,
        **({"tuning": tuning} if (tuning := _tuning_of(loaded.entry.settings)) else {}),
        "versions": _versions(),
    }


def _tuning_of(said: ModelSettings) -> dict[str, Any]:
    """What of an entry decides bits beside its weights; what is off is left out."""
    shown = ("compile", "channels_last", "attention", "float8", "step_cache", "offload")
    return {name: value for name in shown if (value := getattr(said, name)) not in (None, False, "none")}


@functools.cache
def _versions() -> Mapping[str, str]:
    """Kept: reading them takes milliseconds."""
    return {"darkroom": __version__, **{name: version(name) for name in ("torch", "diffusers", "transformers")}}


def record(
    request: ImageRequest, pipe: Any, conditions: dict[str, Any], unsteady: Sequence[str] = ()
) -> dict[str, Any]:
    """Everything that must be known to make an image again; JSON. `unsteady` is the handle's."""
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
    if unsteady:
        said["unsteady"] = list(unsteady)
    return {**conditions, **digests, **adapters, **said}

"""Production serving for diffusion models: unmodified diffusers pipelines, batched at the denoising step.

Names are loaded when first asked for: importing torch takes seconds, and `import darkroom` must not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors
    from .client.asynchronous import AsyncClient
    from .client.blocking import Client
    from .engine.engine import Engine
    from .engine.handle import Handle
    from .workflows.plain import Run, pipeline

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "Engine", "Handle", "Run", "__version__", "errors", "pipeline"]

_HOMES = {
    "AsyncClient": "darkroom.client.asynchronous",
    "Client": "darkroom.client.blocking",
    "Engine": "darkroom.engine.engine",
    "Handle": "darkroom.engine.handle",
    "Run": "darkroom.workflows.plain",
    "pipeline": "darkroom.workflows.plain",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("darkroom.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'darkroom' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

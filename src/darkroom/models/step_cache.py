"""A named opt-in: steps whose first block hardly changes anything reuse what the other blocks added the step before.

Diffusers' first-block cache decides inside a forward, over the whole of it, and keeps what it saw on the module. So
each of these requests turns it on for itself, which the engine answers with modules of its own over the same weights
(docs/architecture/01-engine.md): nobody else is touched, and such a request shares no forward.
"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

from ..errors import NotSupported

MARK = "darkroom_step_cache"  # on a pipeline's class: the threshold, for the record of what it makes
CONTEXT = "cache_context"  # by which pipelines tell a cache whose calls belong together


def with_step_cache(pipe: Any, threshold: float) -> Any:
    """The pipeline with a cache around its run; `threshold` is the change of the first block below which it is used.

    Raises `NotSupported` for a pipeline or a denoiser that has none.
    """
    kind, names = type(pipe), _denoisers(pipe)
    run = kind.__call__
    if not can_cache(pipe):
        raise NotSupported(f"step_cache: {kind.__name__} has no cache of steps; leave it out", field="step_cache")

    @functools.wraps(run)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        from diffusers import FirstBlockCacheConfig

        for name in names:
            getattr(self, name).enable_cache(FirstBlockCacheConfig(threshold=threshold))
        try:
            return run(self, *args, **kwargs)
        finally:
            for name in names:
                getattr(self, name).disable_cache()

    own = copy.copy(pipe)
    own.__class__ = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__call__": call, MARK: threshold})
    return own


def can_cache(pipe: Any) -> bool:
    """Whether there is a cache for it: its denoisers have one, and it tells which calls belong together."""
    is_told = any(
        CONTEXT in inspect.unwrap(base.__dict__["__call__"]).__code__.co_names for base in _called(type(pipe))
    )
    return is_told and all(hasattr(getattr(pipe, name), "enable_cache") for name in _denoisers(pipe))


def _denoisers(pipe: Any) -> list[str]:
    return [name for name in ("transformer", "transformer_2") if getattr(pipe, name, None)]


def _called(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if "__call__" in base.__dict__]

"""Catches pipelines that write on shared modules from inside their loop.

Some pipelines set attention processors, dtype or flags on a module while they run (PAG, FreeU, SDXL's VAE upcast);
on a shared module that silently changes every neighbour. While an engine serves, writes to its modules from inside a
fiber raise `ModuleMutated`, and the request starts over on its own module view. The methods of `torch.nn.Module` that
write are wrapped while at least one engine is open; code outside a fiber is not affected. Weights that are written in
place cannot be caught in the act: `Request` compares `versions_of` them before and after.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

import torch

from . import fiber

_MISSING = object()
# An empty hook registry, which diffusers' `cache_context` puts on a transformer at its first use (Flux, Wan, LTX): it
# does nothing until a cache is enabled, and enabling one writes `forward`, which is caught.
_HARMLESS = frozenset({"_diffusers_hook"})
# Beside attributes and casts: they write into registries that the module holds.
WRITERS = (
    "__delattr__",
    "add_module",
    "register_buffer",
    "register_parameter",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
)


class ModuleMutated(BaseException):
    """A request tried to change a module that others use; no `except Exception` swallows it."""


def _guarded_modules() -> frozenset[int] | set[int]:
    running = fiber.current()
    return running.owner.guarded if running is not None else frozenset()


class _Guard:
    """Holds what was wrapped and how many engines need it."""

    def __init__(self) -> None:
        self.users = 0
        self.originals: dict[str, Any] = {}
        self._lock = threading.Lock()

    def enter(self) -> None:
        with self._lock:
            self.users += 1
            if self.users == 1:
                wrapped: dict[str, Any] = {"__setattr__": _set_attribute, "_apply": _apply}
                wrapped |= {name: _refusing(name) for name in WRITERS}
                self.originals = {name: getattr(torch.nn.Module, name) for name in wrapped}
                for name, wrapper in wrapped.items():
                    setattr(torch.nn.Module, name, wrapper)

    def leave(self) -> None:
        with self._lock:
            self.users -= 1
            if self.users == 0:
                for name, original in self.originals.items():
                    setattr(torch.nn.Module, name, original)


# The class it wraps is global to the process, and so is this.
guard = _Guard()


def _set_attribute(module: torch.nn.Module, name: str, value: Any) -> None:
    if name not in _HARMLESS and id(module) in _guarded_modules():
        if not _is_same(module, name, value):
            raise ModuleMutated(f"{type(module).__name__}.{name}")
        return
    guard.originals["__setattr__"](module, name, value)


def _is_same(module: torch.nn.Module, name: str, value: Any) -> bool:
    present = getattr(module, name, _MISSING)
    if present is value:
        return True
    return isinstance(value, bool | int | float | str) and type(present) is type(value) and bool(present == value)


def _apply(module: torch.nn.Module, function: Any, *args: Any, **kwargs: Any) -> Any:
    if id(module) in _guarded_modules():
        tensors = itertools.chain(module.parameters(), module.buffers())
        if any(function(tensor) is not tensor for tensor in tensors):
            raise ModuleMutated(f"{type(module).__name__} moved or cast")
        return module
    return guard.originals["_apply"](module, function, *args, **kwargs)


def _refusing(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(torch.nn.Module, name))
    def write(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        if id(module) in _guarded_modules():
            raise ModuleMutated(f"{type(module).__name__}.{name}")
        return guard.originals[name](module, *args, **kwargs)

    return write


def versions_of(weights: Iterable[torch.Tensor]) -> int:
    """Grows when one of these is written in place, as `torch.Tensor._version` does; `weight.data` hides from it."""
    return sum(weight._version for weight in weights if not weight.is_inference())

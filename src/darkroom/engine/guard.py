"""Catches pipelines that write on shared modules from inside their loop.

Some pipelines set attention processors, dtype or flags on a module while they run (PAG, FreeU, SDXL's VAE upcast);
on a shared module that silently changes every neighbour. While an engine serves, writes to its modules from inside a
fiber raise `ModuleMutated`, and the request starts over on its own module view. Two methods of `torch.nn.Module` are
wrapped while at least one engine is open; code outside a fiber is not affected.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from . import fiber

_MISSING = object()
# An empty hook registry, which diffusers' `cache_context` puts on a transformer at its first use (Flux, Wan, LTX): it
# does nothing until a cache is enabled, and enabling one writes `forward`, which is caught.
_HARMLESS = frozenset({"_diffusers_hook"})


class ModuleMutated(BaseException):
    """A request tried to change a module that others use; no `except Exception` swallows it."""


def _guarded_modules() -> frozenset[int] | set[int]:
    running = fiber.current()
    return running.owner.guarded if running is not None else frozenset()


class _Guard:
    """Holds what was wrapped and how many engines need it."""

    def __init__(self) -> None:
        self.users = 0
        self.set_attribute = torch.nn.Module.__setattr__
        self.apply = torch.nn.Module._apply

    def enter(self) -> None:
        self.users += 1
        if self.users == 1:
            self.set_attribute, self.apply = torch.nn.Module.__setattr__, torch.nn.Module._apply
            torch.nn.Module.__setattr__ = _set_attribute  # type: ignore[method-assign,assignment]
            torch.nn.Module._apply = _apply  # type: ignore[method-assign,assignment]

    def leave(self) -> None:
        self.users -= 1
        if self.users == 0:
            torch.nn.Module.__setattr__ = self.set_attribute  # type: ignore[method-assign]
            torch.nn.Module._apply = self.apply  # type: ignore[method-assign]


# The class it wraps is global to the process, and so is this.
guard = _Guard()


def _set_attribute(module: torch.nn.Module, name: str, value: Any) -> None:
    if name not in _HARMLESS and id(module) in _guarded_modules() and not _is_same(module, name, value):
        raise ModuleMutated(f"{type(module).__name__}.{name}")
    guard.set_attribute(module, name, value)


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
    apply: Any = guard.apply
    return apply(module, function, *args, **kwargs)

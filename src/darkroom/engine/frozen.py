"""Modules in service are in eval mode; the last engine or pipeline that leaves one puts its training mode back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch


@dataclass
class _Held:
    was_training: bool
    users: int = 0


# What is shared is shared by the whole process: so is this. Touched under `served.attaching` only.
_held: dict[torch.nn.Module, _Held] = {}


def freeze(module: torch.nn.Module) -> list[torch.nn.Module]:
    """Eval mode for it and all inside; gives what `thaw` takes."""
    inner = list(module.modules())
    for each in inner:
        _held.setdefault(each, _Held(each.training)).users += 1
    module.eval()
    return inner


def is_frozen(module: torch.nn.Module) -> bool:
    """Whether somebody serves it."""
    return module in _held


def thaw(modules: Iterable[torch.nn.Module]) -> None:
    """Leave them; those that nobody serves any more are as they were found."""
    for each in modules:
        held = _held[each]
        held.users -= 1
        if held.users == 0:
            each.training = held.was_training
            del _held[each]

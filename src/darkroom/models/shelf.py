"""Models that left their device and rest in host memory, from where they come back in a fraction of a load.

A copy is kept while its model is back on the device, for weights in service never change: the next time it leaves,
nothing is copied. Where room is needed these copies go first, then the models that rest longest.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from ..engine.host_copy import HostCopy, can_rest, storages_of, tensors_of
from .loading import Loaded


@dataclass(eq=False)
class _Kept:
    loaded: Loaded
    copy: HostCopy
    is_resting: bool = False


class Shelf:
    """Keeps up to `budget_bytes`; 0 keeps nothing. One thread puts and takes; `taking` is entered around the way back.

    On a CPU the host's memory is the device's, and there is no such place between it and the disk.
    """

    def __init__(
        self,
        budget_bytes: int,
        taking: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self.budget_bytes, self._taking = budget_bytes, taking
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # the one that left longest ago first

    @property
    def resting(self) -> tuple[str, ...]:
        """Names of the models that lie here and nowhere else."""
        return tuple(name for name, kept in list(self._kept.items()) if kept.is_resting)

    @property
    def held_bytes(self) -> int:
        """What all copies take, those of models on the device too."""
        return sum(kept.copy.size_bytes for kept in list(self._kept.values()))

    def forget(self, name: str) -> None:
        """Keep nothing of it."""
        self._kept.pop(name, None)

    def put(self, name: str, loaded: Loaded, *, sparing: str = "") -> bool:
        """Have a model rest here that nobody serves any more; False where it does not fit, and goes.

        The one whose room it makes is about to be taken from here: `sparing` is its name.
        """
        kept = self._kept.get(name)
        if kept is None or kept.loaded is not loaded:
            self.forget(name)
            kept = self._copied(loaded, sparing)
        if kept is None:
            return False
        kept.copy.rest()
        kept.is_resting = True
        self._kept[name] = kept
        self._kept.move_to_end(name)
        return True

    def take(self, name: str) -> Loaded | None:
        """The model, back on its device; None where it does not lie here."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        with self._taking():
            kept.copy.fill()
        kept.is_resting = False
        return kept.loaded

    def _copied(self, loaded: Loaded, sparing: str) -> _Kept | None:
        if loaded.entry.settings.offload != "none":
            return None  # it rests in host memory as it is
        is_on_cpu = loaded.placement.kind == "cpu"
        modules = [module for module in loaded.modules if is_on_cpu or _device_of(module).type != "cpu"]
        needed = sum(storage.nbytes() for storage in storages_of(tensors_of(modules)))
        if not can_rest(modules) or not self._make_room(needed, sparing):
            return None
        return _Kept(loaded, HostCopy(modules))

    def _make_room(self, needed_bytes: int, sparing: str) -> bool:
        spared = self._kept.get(sparing)
        if needed_bytes + (spared.copy.size_bytes if spared else 0) > self.budget_bytes:
            return False
        others = [name for name in self._kept if name != sparing]
        for name in sorted(others, key=lambda name: self._kept[name].is_resting):  # copies of what is on the device
            if self.held_bytes + needed_bytes > self.budget_bytes:
                del self._kept[name]
        return True


def _device_of(module: torch.nn.Module) -> torch.device:
    return next((tensor.device for tensor in tensors_of([module])), torch.device("cpu"))

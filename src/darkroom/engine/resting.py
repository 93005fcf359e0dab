"""Where modules run: most where they lie; others rest on the host until they are called, whole or block by block."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

import torch

from .host_copy import HostCopy


class Guests:
    """Modules of one model that come to `device` for their calls, and leave it where another needs the room.

    Together they take no more of it than the largest of them. Their weights must lie in host memory.
    """

    def __init__(self, modules: Iterable[torch.nn.Module], device: torch.device) -> None:
        self.device = torch.empty(0, device=device).device  # with its number, as tensors tell theirs
        self._copies = {id(module): HostCopy([module], self.device) for module in modules}
        self.room_bytes = max((copy.size_bytes for copy in self._copies.values()), default=0)
        self._present: OrderedDict[int, HostCopy] = OrderedDict()  # the one called longest ago first
        self._gone: deque[int] = deque()  # of those that joined; another may come to lie where one of these did
        self.lock = threading.Lock()  # engines of one process may share a module
        for copy in self._copies.values():
            copy.rest()

    def join(self, module: torch.nn.Module) -> None:
        """One more comes and goes with them, as long as somebody has it."""
        copy = HostCopy([module], self.device)
        with self.lock:
            self._forget_gone()
            copy.rest()
            self._copies[id(module)] = copy
            self.room_bytes = max(self.room_bytes, copy.size_bytes)
        weakref.finalize(module, self._gone.append, id(module))  # anywhere, at any time: no more than noted

    def bring(self, module: torch.nn.Module) -> None:
        """Have its weights on the device; with the lock held, as long as they must stay there."""
        self._forget_gone()
        copy = self._copies[id(module)]
        if id(module) not in self._present:
            while self._present and self._taken_bytes() + copy.size_bytes > self.room_bytes:
                self._present.popitem(last=False)[1].rest()
            copy.fill()
            self._present[id(module)] = copy
        self._present.move_to_end(id(module))

    def _forget_gone(self) -> None:
        while self._gone:
            gone = self._gone.popleft()
            self._copies.pop(gone, None)
            self._present.pop(gone, None)

    def _taken_bytes(self) -> int:
        return sum(copy.size_bytes for copy in self._present.values())


# A module is shared by every engine of the process, and so is where it rests.
_guests: weakref.WeakKeyDictionary[torch.nn.Module, Guests] = weakref.WeakKeyDictionary()


def offload(modules: Iterable[torch.nn.Module], device: torch.device) -> Guests:
    """Have modules rest in host memory and come to `device` for their calls; before an engine serves them."""
    whole = list(modules)
    guests = Guests(whole, device)
    _guests.update(dict.fromkeys(whole, guests))
    return guests


def stand_in(module: torch.nn.Module, own: torch.nn.Module) -> None:
    """Have `own` come and go in the company of the module for which it stands in, where that has one."""
    guests = guests_of(module)
    if guests is not None:
        guests.join(own)
        _guests[own] = guests


def guests_of(module: torch.nn.Module) -> Guests | None:
    """The company in which it comes to its device; None where it lies there."""
    return _guests.get(module)


def streamed_to(module: torch.nn.Module) -> torch.device | None:
    """Where diffusers' group offloading brings its weights, part by part, if it has that; a walk through all of it."""
    for inner in module.modules():
        registry: Any = getattr(inner, "_diffusers_hook", None)
        found = registry.get_hook("group_offloading") if registry is not None else None
        if found is not None:
            return torch.device(found.group.onload_device)
    return None


def device_of(module: torch.nn.Module) -> torch.device:
    """Where its calls run."""
    guests = guests_of(module)
    return guests.device if guests is not None else streamed_to(module) or weights_device(module)


def weights_device(module: torch.nn.Module) -> torch.device:
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device

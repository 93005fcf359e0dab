"""Adapters in memory: read once, lent to requests, dropped least recently used first when bytes run out."""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from .. import errors
from ..core import MAX_WEIGHT

Read = Callable[[], "Adapter"]


@dataclass(frozen=True, eq=False)
class Factors:
    """What one layer gets: `up @ down`, alpha / rank folded into `up`.

    `down` is (rank, in), or (rank, in, height, width) of a convolution; `up` is (out, rank).
    """

    down: torch.Tensor
    up: torch.Tensor

    @property
    def size_bytes(self) -> int:
        """Both together."""
        return self.down.nbytes + self.up.nbytes


@dataclass(frozen=True, eq=False)
class Part:
    """An adapter's factors for one component of a pipeline, by the path of the layer."""

    digest: str
    layers: Mapping[str, Factors]


Mix = tuple[tuple[Part, float], ...]  # what one row gets: parts with their weights; () is none


@dataclass(frozen=True, eq=False)
class Adapter:
    """One file, read: its parts by component; `digest` is of the file's bytes."""

    digest: str
    parts: Mapping[str, Part]

    @cached_property
    def size_bytes(self) -> int:
        """Of all factors."""
        return sum(factors.size_bytes for part in self.parts.values() for factors in part.layers.values())


@dataclass(eq=False)
class _Entry:
    """An adapter that is known; `modules` are those that it is for, by component."""

    read: Read
    modules: Mapping[str, torch.nn.Module]
    digest: str
    adapter: Adapter | None
    uses: int = 0
    loading: Future[Adapter] | None = None


@dataclass(eq=False)
class Loan:
    """The adapters of one request, for as long as it runs; their order is that in which they were asked for."""

    weights: Mapping[str, float]
    entries: Sequence[_Entry]
    waiting: Sequence[Future[Adapter]]
    give_back: Callable[[], None] = field(repr=False)

    @property
    def is_ready(self) -> bool:
        """Whether all are in memory."""
        return all(future.done() and future.exception() is None for future in self.waiting)

    @property
    def error(self) -> BaseException | None:
        """Why one could not be read, once that is known."""
        failed = (future.exception() for future in self.waiting if future.done())
        return next((error for error in failed if error is not None), None)

    @property
    def digests(self) -> dict[str, str]:
        """Of their files, by name."""
        return {name: entry.digest for name, entry in zip(self.weights, self.entries, strict=True)}

    def mix_for(self, component: str) -> Mix:
        """What a row of that component's forwards gets."""
        found = []
        for weight, entry in zip(self.weights.values(), self.entries, strict=True):
            part = entry.adapter.parts.get(component) if entry.adapter else None
            if part is not None and weight:
                found.append((part, weight))
        return tuple(found)


class AdapterPool:
    """Every adapter that an engine knows, those in memory within `capacity_bytes`; any thread.

    What requests in flight hold stays, if need be beyond that. `to_pool` runs a function in another thread.
    """

    def __init__(self, capacity_bytes: int, to_pool: Callable[[Read], Future[Adapter]]) -> None:
        self.capacity_bytes = capacity_bytes
        self._to_pool = to_pool
        self._known: OrderedDict[str, _Entry] = OrderedDict()  # the least recently used first
        self._lock = threading.RLock()

    @property
    def held_bytes(self) -> int:
        """Of what is in memory."""
        with self._lock:
            return sum(entry.adapter.size_bytes for entry in self._known.values() if entry.adapter)

    @property
    def held(self) -> tuple[str, ...]:
        """The names of those in memory, the least recently used first."""
        with self._lock:
            return tuple(name for name, entry in self._known.items() if entry.adapter)

    def add(
        self, name: str, read: Read, modules: Mapping[str, torch.nn.Module], check: Callable[[], None] = lambda: None
    ) -> None:
        """Read it now, in the caller's thread; raises what reading raises, and `BadInput` for a name that is taken.

        `check` raises where the modules are served no longer: they may have been forgotten while it was read.
        """
        if not name:
            raise errors.BadInput("an adapter needs a name", field="name")
        self._check_free(name)
        adapter = read()
        with self._lock:
            self._check_free(name)
            check()
            mine = {component: modules[component] for component in adapter.parts}
            self._known[name] = _Entry(read, mine, adapter.digest, adapter)
            self._make_room()

    def remove(self, name: str) -> None:
        """Forget it; requests in flight keep it. Raises `UnknownAdapter`."""
        with self._lock:
            self._find(name)
            del self._known[name]

    def forget(self, gone: Iterable[int]) -> None:
        """Modules of these identities are served no longer, nor are adapters for them."""
        identities = set(gone)
        with self._lock:
            for name, entry in list(self._known.items()):
                if any(id(module) in identities for module in entry.modules.values()):
                    del self._known[name]

    def lend(self, weights: Mapping[str, Any], modules: Mapping[str, torch.nn.Module]) -> Loan:
        """For a request to a pipeline of these modules; what is not in memory is read in another thread.

        Raises `UnknownAdapter`, and `BadInput` for weights that are no numbers or adapters of another model.
        """
        checked = {name: _checked(name, weight) for name, weight in weights.items()}
        with self._lock:
            entries = [self._find(name) for name in checked]
            for name, entry in zip(checked, entries, strict=True):
                _check_fits(name, entry, modules)
            waiting = [self._bring(name, entry) for name, entry in zip(checked, entries, strict=True)]
            for entry in entries:
                entry.uses += 1
            return Loan(checked, entries, [each for each in waiting if each], lambda: self._give_back(entries))

    def names(self, modules: Mapping[str, torch.nn.Module]) -> list[str]:
        """Those for a pipeline of these modules."""
        with self._lock:
            return [name for name, entry in self._known.items() if _fits(entry, modules)]

    def _bring(self, name: str, entry: _Entry) -> Future[Adapter] | None:
        self._known.move_to_end(name)
        if entry.adapter is None and entry.loading is None:
            try:
                entry.loading = self._to_pool(lambda: self._read_again(name, entry))
            except RuntimeError as error:  # the pool's threads have ended
                raise errors.EngineClosed("the engine is closed and reads no more adapters") from error
        return entry.loading

    def _read_again(self, name: str, entry: _Entry) -> Adapter:
        try:
            adapter = entry.read()
            if adapter.digest != entry.digest:
                said = f"the file of adapter {name!r} has changed since it was added: remove it and add it again"
                raise errors.CorruptWeights(said, field="adapters")
        except BaseException:
            with self._lock:
                entry.loading = None  # another time it may be there
            raise
        with self._lock:
            entry.adapter, entry.loading = adapter, None
            self._make_room()
        return adapter

    def _give_back(self, entries: Sequence[_Entry]) -> None:
        with self._lock:
            for entry in entries:
                entry.uses -= 1
            self._make_room()

    def _make_room(self) -> None:
        for entry in list(self._known.values()):
            if self.held_bytes <= self.capacity_bytes:
                return
            if not entry.uses:
                entry.adapter = None

    def _check_free(self, name: str) -> None:
        if name in self._known:
            raise errors.BadInput(f"an adapter named {name!r} is there already; remove it first", field="name")

    def _find(self, name: str) -> _Entry:
        if name not in self._known:
            known = ", ".join(sorted(self._known)) or "none"
            raise errors.UnknownAdapter(f"no adapter {name!r}; there are: {known}", field="adapters")
        return self._known[name]


def _checked(name: str, weight: Any) -> float:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
    if not is_number or abs(weight) > MAX_WEIGHT:
        said = f"the weight of adapter {name!r} must be a number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        raise errors.BadInput(f"{said}, not {weight!r}", field="adapters")
    return float(weight)


def _fits(entry: _Entry, modules: Mapping[str, torch.nn.Module]) -> bool:
    return all(modules.get(component) is module for component, module in entry.modules.items())


def _check_fits(name: str, entry: _Entry, modules: Mapping[str, torch.nn.Module]) -> None:
    if not _fits(entry, modules):
        raise errors.BadInput(f"adapter {name!r} was added for another model", field="adapters")


def digest_of(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

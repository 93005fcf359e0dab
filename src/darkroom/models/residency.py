"""Which models are in memory: loaded in a thread of their own, bounded in measured bytes, least recently used leaving.

    wanted --loaded--> resident --room is needed--> leaving --nobody uses it--> resting in host memory, or gone
       |  ^-------------------- wanted again, from host memory or from disk ----------------------'
       '--nobody waits any more, or it failed--> gone

A model whose turn to leave has come takes no new requests: they wait for its return. Otherwise a model in steady use
would keep another one out for ever.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from ..errors import EngineClosed
from .device import stream_of_own
from .footprint import union_bytes, weights_of
from .loading import Composing, Loaded
from .offer import Offer
from .shelf import Shelf
from .step_cache import can_cache, with_step_cache
from .tasks import variant_of

log = logging.getLogger(__name__)

CLOSED = "the worker stops and loads no more models"
NO_PIECES: Mapping[str, bool] = {}
DISK, HOST = "disk", "host"  # where a model comes from, and where one goes that leaves


class Host(Protocol):
    """Where the pipelines of resident models run."""

    def add(
        self,
        pipe: Any,
        name: str | None = None,
        *,
        fixed_rows: int | None = None,
        compiled: bool | None = None,
        easy_cache: float | None = None,
    ) -> str:
        """Serve one more pipeline."""

    def remove(self, name: str) -> None:
        """Stop serving one, of which nothing is in flight."""


@dataclass(eq=False)
class Resident:
    """A model in memory; `weights` are the bytes of its tensors on its device, shared ones counted once.

    `seconds` are those until it was there, `source` (DISK or HOST) where it came from.
    """

    loaded: Loaded
    offer: Offer
    weights: Mapping[int, int]
    seconds: float
    parts: Mapping[str, Future[Resident]] = field(default_factory=dict)  # taken as long as it is there
    source: str = DISK
    uses: int = 0
    is_leaving: bool = False
    variants: dict[tuple[str, str | None, bool, tuple[str, ...]], tuple[str, Any]] = field(default_factory=dict)
    making: threading.Lock = field(default_factory=threading.Lock)
    adapters: dict[str, Future[None]] = field(default_factory=dict)  # that the host knows, or is being told
    adapting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def size_bytes(self) -> int:
        """What it alone holds."""
        return sum(self.weights.values())


@dataclass(eq=False)
class _Wanted:
    ready: Future[Resident] = field(default_factory=Future)
    takers: int = 0


class Residency:
    """Takes and gives back models for use; every method may be called from any thread.

    `load` brings a model into memory by name; `expected_bytes` says about how much that will take. `changed` is told
    of each model that came or left. `composing` knows of models that are made of others. All of those are brought in
    before one is handed out: who held one while waiting for the next could wait for ever. Those that leave rest on the
    `shelf`, as far as it has room.
    """

    def __init__(
        self,
        host: Host,
        load: Callable[[str], Loaded],
        expected_bytes: Callable[[str], int],
        budget_bytes: int,
        changed: Callable[[str, Resident | None], None] = lambda name, resident: None,
        composing: Composing | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.budget_bytes, self._composing = budget_bytes, composing
        self._gathered: dict[str, Future[Resident]] = {}  # parts of the one that is being put together
        self._host, self._load, self._expected_bytes, self._tell = host, load, expected_bytes, changed
        self._residents: OrderedDict[str, Resident] = OrderedDict()  # the least recently used first
        self._wanted: OrderedDict[str, _Wanted] = OrderedDict()
        self._shelf = shelf or Shelf(0)
        self._measured: dict[str, int] = {}
        self._activations: dict[str, dict[str, float]] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._loop, name="darkroom-loader", daemon=True)
        self._thread.start()

    def take(self, name: str) -> Future[Resident]:
        """A model for use, once it is in memory; whoever takes gives back, whatever became of it."""
        with self._changed:
            resident = self._residents.get(name)
            if resident is not None and not resident.is_leaving:
                return self._hand_out(name, resident)
            wanted = self._wanted.setdefault(name, _Wanted())
            wanted.takers += 1
            self._changed.notify_all()
            return wanted.ready

    def give_back(self, name: str, taken: Future[Resident]) -> None:
        """What was taken is no longer used, or no longer waited for."""
        with self._changed:
            wanted = self._wanted.get(name)
            if wanted is not None and wanted.ready is taken:
                wanted.takers -= 1
            elif taken.done() and not taken.cancelled() and taken.exception() is None:
                taken.result().uses -= 1
            self._changed.notify_all()

    def variant(
        self,
        resident: Resident,
        task: str,
        solver: str | None,
        *,
        is_checked: bool = True,
        pieces: Mapping[str, bool] = NO_PIECES,
        is_reproducible: bool = False,
    ) -> tuple[str, Any]:
        """The name under which the host serves that task and solver, and its pipeline; made at its first use.

        `is_checked`: with its safety checker, where it has one. `pieces`: with those of `tasks.variant_of`.
        `is_reproducible`: without its cache of steps.
        """
        is_unchecked, said = resident.loaded.has_checker and not is_checked, resident.loaded.entry.settings
        threshold = None if is_reproducible else said.step_cache
        marks = tuple(name.removeprefix("is_") for name, is_needed in pieces.items() if is_needed)
        marks += () if threshold is None else ("cached",)
        key = (task, solver, is_unchecked, marks)
        with resident.making:  # its own lock: the first use of a task reads diffusers' pipelines, for seconds
            if key not in resident.variants:
                model = resident.loaded.entry.name
                pipe = variant_of(resident.loaded, task, solver, **pieces)
                pipe = resident.loaded.without_checker(pipe) if is_unchecked else resident.loaded.with_checker(pipe)
                # The main pipeline has a cache, or it were not loaded; a variant without one is served as it is.
                pipe = with_step_cache(pipe, threshold) if threshold is not None and can_cache(pipe) else pipe
                words = (solver or "", *marks, *(["unchecked"] if is_unchecked else []))
                name = "|".join((model, task, " ".join(words)))
                rows, easy = resident.offer.fixed_rows, said.easy_cache
                self._host.add(pipe, name, fixed_rows=rows, compiled=said.compile, easy_cache=easy)
                resident.variants[key] = (name, pipe)
            return resident.variants[key]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the resident models that take requests."""
        with self._changed:
            return tuple(name for name, resident in self._residents.items() if not resident.is_leaving)

    @property
    def held_bytes(self) -> int:
        """What the resident models hold, what they share once."""
        with self._changed:
            return union_bytes(resident.weights for resident in self._residents.values())

    @property
    def resting(self) -> tuple[str, ...]:
        """Names of the models that left the device and lie in host memory."""
        return self._shelf.resting

    def place_of(self, name: str) -> str:
        """Where a model lies that is not resident: HOST or DISK."""
        return HOST if name in self._shelf.resting else DISK

    @property
    def activations(self) -> dict[str, dict[str, float]]:
        """Model -> seconds until it was there, the latest from DISK and from HOST."""
        return {name: dict(seconds) for name, seconds in list(self._activations.items())}

    @property
    def is_loading(self) -> bool:
        """After `close`: whether a load that had begun is still on its way."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Load nothing more; those who wait are told."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _hand_out(self, name: str, resident: Resident) -> Future[Resident]:
        resident.uses += 1
        self._touch(name, resident)
        ready: Future[Resident] = Future()
        ready.set_result(resident)
        return ready

    def _touch(self, name: str, resident: Resident) -> None:
        """It was used last, and its parts after it: they cannot leave before it does."""
        for each in (name, *resident.parts):
            self._residents.move_to_end(each)

    # The loader's thread.

    def _loop(self) -> None:
        while (name := self._next()) is not None:
            self._bring(name)

    def _bring(self, name: str) -> None:
        try:
            resident = self._bring_in(name)
        except Exception as error:  # budget: the thread's outermost loop; those who wait are told
            self._refuse(name, error)
        else:
            self._hand_over(name, resident)

    def _next(self) -> str | None:
        """The model that was wanted first and is still waited for."""
        with self._changed:
            while not self._is_closed:
                for name in [name for name, wanted in self._wanted.items() if wanted.takers == 0]:
                    self._wanted.pop(name).ready.cancel()
                if self._wanted:
                    return next(iter(self._wanted))
                self._changed.wait()
            for wanted in self._wanted.values():
                # Not cancelled: that would not wake those who wait for this or something else.
                wanted.ready.set_exception(EngineClosed(CLOSED))
            self._wanted.clear()
            return None

    def _bring_in(self, name: str) -> Resident | None:
        """Load it; None where nobody waits for it any more."""
        with self._changed:
            if name in self._residents:  # it was to leave, and the one that needed its room gave up
                return self._residents[name]
        if self._composing is not None and (parts := self._composing.parts(name)):
            return self._put_together(name, parts, self._composing)
        if not self._make_room(name, self._measured.get(name) or self._expected_bytes(name)):
            return None
        began = time.perf_counter()
        found = self._fetch_if_it_fits(name)
        if found is None:
            if not self._make_room(name, self.budget_bytes):  # whatever else is there must leave
                return None
            began = time.perf_counter()
            found = self._fetch(name)
        loaded, source = found
        resident = _resident(loaded, began, {}, source)
        self._measured[name] = resident.size_bytes
        if self._make_room(name, resident.size_bytes):
            return resident
        self._shelf.put(name, loaded)  # nobody waits any more, but somebody may soon
        return None

    def _put_together(self, name: str, parts: Sequence[str], composing: Composing) -> Resident:
        """It, over its parts, none of which leaves meanwhile to make room for the next."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._gathered.clear)
            for part in parts:
                self._gathered[part] = taken = self.take(part)
                undo.callback(self.give_back, part, taken)
                if not taken.done():
                    self._bring(part)
                if not taken.done():  # nothing is loaded any more
                    raise EngineClosed(CLOSED)
            held, began = dict(self._gathered), time.perf_counter()
            loaded = composing.compose(name, [taken.result().loaded for taken in held.values()])
            resident = _resident(loaded, began, held)
            undo.pop_all()
        self._gathered.clear()
        return resident

    def _fetch(self, name: str) -> tuple[Loaded, str]:
        """From host memory where it rests there, else from disk."""
        with stream_of_own():  # copying to the device must not wait for forwards, nor they for it
            rested = self._shelf.take(name)
            return (self._load(name), DISK) if rested is None else (rested, HOST)

    def _fetch_if_it_fits(self, name: str) -> tuple[Loaded, str] | None:
        try:
            return self._fetch(name)
        except torch.OutOfMemoryError:  # tried again outside of this clause, which holds what was loaded so far
            return None

    def _hand_over(self, name: str, resident: Resident | None) -> None:
        if resident is None:
            return  # whoever has asked for it since still waits, and is served in the next round
        with self._changed:
            wanted = self._wanted.pop(name)
            is_new = name not in self._residents
            self._residents[name] = resident
            self._touch(name, resident)
            resident.uses += wanted.takers
            wanted.ready.set_result(resident)  # with the lock: a taker that leaves now must find it counted
        if is_new:
            self._activations.setdefault(name, {})[resident.source] = resident.seconds
            said = "%s is loaded from %s: %.1f s, %d MiB"
            log.info(said, name, resident.source, resident.seconds, resident.size_bytes >> 20)
            self._tell(name, resident)

    def _refuse(self, name: str, error: Exception) -> None:
        with self._changed:
            self._wanted.pop(name).ready.set_exception(error)

    def _make_room(self, name: str, needed_bytes: int) -> bool:
        """Have models leave until it fits, or none is left; False where nobody waits for it any more."""
        while True:
            with self._changed:
                leaving = self._choose(needed_bytes)
                if not leaving:
                    return True
                if self._is_closed or self._wanted[name].takers == 0:
                    self._keep_all()
                    return False
                idle = next((each for each, resident in leaving.items() if resident.uses == 0), None)
                if idle is None:
                    self._changed.wait()
                    continue
            self._see_off(idle, name)

    def _choose(self, needed_bytes: int) -> dict[str, Resident]:
        """Those that must leave, the least recently used first; they take nothing new from now on."""
        self._keep_all()
        staying, leaving = dict(self._residents), {}
        for name, resident in self._residents.items():
            if name in self._gathered:
                continue
            if union_bytes(resident.weights for resident in staying.values()) + needed_bytes <= self.budget_bytes:
                break
            leaving[name] = staying.pop(name)
            resident.is_leaving = True
        return leaving

    def _keep_all(self) -> None:
        for resident in self._residents.values():
            resident.is_leaving = False

    def _see_off(self, name: str, wanted: str) -> None:
        with self._changed:
            resident = self._residents.pop(name)
            assert resident.uses == 0
            others = [other.weights for other in self._residents.values()]
            lone = not resident.parts and all(map(resident.weights.keys().isdisjoint, others))  # else its parts stay
        for served, _ in resident.variants.values():
            self._host.remove(served)
        for part, taken in resident.parts.items():
            self.give_back(part, taken)
        if not lone:
            self._shelf.forget(name)
        # what others use as well must not move
        rests = lone and self._shelved(name, resident.loaded, wanted)
        where = "; it rests in host memory" if rests else ""
        log.info("%s leaves: its %d MiB are needed%s", name, resident.size_bytes >> 20, where)
        del resident
        gc.collect()  # pipelines hold themselves in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._tell(name, None)

    def _shelved(self, name: str, loaded: Loaded, wanted: str) -> bool:
        """Whether it rests on the shelf now; where the host has no room after all it goes, and nobody else fails."""
        try:
            with stream_of_own():
                return self._shelf.put(name, loaded, sparing=wanted)
        except RuntimeError:
            log.warning("%s does not rest in host memory", name, exc_info=True)
            return False


def _resident(loaded: Loaded, began: float, parts: Mapping[str, Future[Resident]], source: str = DISK) -> Resident:
    held = weights_of(loaded.pipe, *loaded.beside, kind=loaded.placement.kind)
    return Resident(loaded, loaded.offer(), held, time.perf_counter() - began, parts, source)

"""Which models are in memory: loaded in a thread of their own, bounded in measured bytes, least recently used leaving.

    wanted --loaded--> resident --room is needed--> leaving --nobody uses it--> gone
       '--nobody waits any more, or it failed--> gone

A model whose turn to leave has come takes no new requests: they wait for its return. Otherwise a model in steady use
would keep another one out for ever.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch

from ..errors import EngineClosed
from .catalogue import Entry
from .device import place
from .loading import Loaded
from .offer import Offer
from .tasks import pipeline_for
from .weighted import weighted

log = logging.getLogger(__name__)

DEVICE_SHARE, HOST_SHARE = 0.7, 0.5  # of the memory there is; requests in flight need the rest
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # what a container may use; "max" where nothing is said


class Host(Protocol):
    """Where the pipelines of resident models run."""

    def add(self, pipe: Any, name: str | None = None, *, fixed_rows: int | None = None) -> str:
        """Serve one more pipeline."""

    def remove(self, name: str) -> None:
        """Stop serving one, of which nothing is in flight."""


@dataclass(eq=False)
class Resident:
    """A model in memory; `weights` are the bytes of its tensors by where they lie, so that shared ones count once."""

    loaded: Loaded
    offer: Offer
    weights: Mapping[int, int]
    seconds: float
    uses: int = 0
    is_leaving: bool = False
    variants: dict[tuple[str, str | None, bool, bool, bool], tuple[str, Any]] = field(default_factory=dict)
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
    of each model that came or left.
    """

    def __init__(
        self,
        host: Host,
        load: Callable[[str], Loaded],
        expected_bytes: Callable[[str], int],
        budget_bytes: int,
        changed: Callable[[str, Resident | None], None] = lambda name, resident: None,
    ) -> None:
        self.budget_bytes = budget_bytes
        self._host, self._load, self._expected_bytes, self._tell = host, load, expected_bytes, changed
        self._residents: OrderedDict[str, Resident] = OrderedDict()  # the least recently used first
        self._wanted: OrderedDict[str, _Wanted] = OrderedDict()
        self._measured: dict[str, int] = {}
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
        is_controlled: bool = False,
        is_weighted: bool = False,
    ) -> tuple[str, Any]:
        """The name under which the host serves that task and solver, and its pipeline; made at its first use.

        `is_checked`: with its safety checker, where it has one. `is_controlled`: with its ControlNet. `is_weighted`:
        reading weights in prompts.
        """
        is_unchecked = resident.loaded.has_checker and not is_checked
        key = (task, solver, is_unchecked, is_controlled, is_weighted)
        with resident.making:  # its own lock: the first use of a task reads diffusers' pipelines, for seconds
            if key not in resident.variants:
                model = resident.loaded.entry.name
                controlnet = resident.loaded.controlnet if is_controlled else None
                pipe = pipeline_for(resident.loaded.pipe, task, solver, model, controlnet)
                pipe = weighted(pipe) if is_weighted else pipe
                pipe = resident.loaded.without_checker(pipe) if is_unchecked else resident.loaded.with_checker(pipe)
                marks = f"{' controlled' if is_controlled else ''}{' unchecked' if is_unchecked else ''}"
                marks += " weighted" if is_weighted else ""
                name = "|".join((model, task, f"{solver or ''}{marks}"))
                self._host.add(pipe, name, fixed_rows=resident.offer.fixed_rows)
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
            return _union(self._residents.values())

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
        self._residents.move_to_end(name)
        ready: Future[Resident] = Future()
        ready.set_result(resident)
        return ready

    # The loader's thread.

    def _loop(self) -> None:
        while (name := self._next()) is not None:
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
                wanted.ready.set_exception(EngineClosed("the worker stops and loads no more models"))
            self._wanted.clear()
            return None

    def _bring_in(self, name: str) -> Resident | None:
        """Load it; None where nobody waits for it any more."""
        with self._changed:
            if name in self._residents:  # it was to leave, and the one that needed its room gave up
                return self._residents[name]
        if not self._make_room(name, self._measured.get(name) or self._expected_bytes(name)):
            return None
        began = time.perf_counter()
        loaded = self._load_if_it_fits(name)
        if loaded is None:
            if not self._make_room(name, self.budget_bytes):  # whatever else is there must leave
                return None
            loaded = self._load(name)
        resident = Resident(
            loaded, loaded.offer(), weights_of(loaded.pipe, *loaded.beside), time.perf_counter() - began
        )
        self._measured[name] = resident.size_bytes
        return resident if self._make_room(name, resident.size_bytes) else None

    def _load_if_it_fits(self, name: str) -> Loaded | None:
        try:
            return self._load(name)
        except torch.OutOfMemoryError:  # tried again outside of this clause, which holds what was loaded so far
            return None

    def _hand_over(self, name: str, resident: Resident | None) -> None:
        if resident is None:
            return  # whoever has asked for it since still waits, and is served in the next round
        with self._changed:
            wanted = self._wanted.pop(name)
            is_new = name not in self._residents
            self._residents[name] = resident
            self._residents.move_to_end(name)
            resident.uses += wanted.takers
            wanted.ready.set_result(resident)  # with the lock: a taker that leaves now must find it counted
        if is_new:
            log.info("%s is loaded: %.1f s, %d MiB", name, resident.seconds, resident.size_bytes >> 20)
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
            self._see_off(idle)

    def _choose(self, needed_bytes: int) -> dict[str, Resident]:
        """Those that must leave, the least recently used first; they take nothing new from now on."""
        self._keep_all()
        staying, leaving = dict(self._residents), {}
        for name, resident in self._residents.items():
            if _union(staying.values()) + needed_bytes <= self.budget_bytes:
                break
            leaving[name] = staying.pop(name)
            resident.is_leaving = True
        return leaving

    def _keep_all(self) -> None:
        for resident in self._residents.values():
            resident.is_leaving = False

    def _see_off(self, name: str) -> None:
        with self._changed:
            resident = self._residents.pop(name)
            assert resident.uses == 0
        for served, _ in resident.variants.values():
            self._host.remove(served)
        log.info("%s leaves: its %d MiB are needed", name, resident.size_bytes >> 20)
        del resident
        gc.collect()  # pipelines hold themselves in circles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._tell(name, None)


def model_of(served: str) -> str:
    """The model behind a name that `Residency.variant` gave."""
    return served.rsplit("|", 2)[0]


def weights_of(pipe: Any, *beside: Any) -> dict[int, int]:
    """Bytes of a pipeline's tensors by the address of their storage: tensors that share one count once."""
    modules = [part for part in (*pipe.components.values(), *beside) if isinstance(part, torch.nn.Module)]
    storages = (tensor.untyped_storage() for module in modules for tensor in _tensors_of(module))
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def budget_of(kind: str, said_mb: int | None) -> int:
    """Bytes that resident models may hold: as set, else most of the device's memory, half of the host's."""
    if said_mb is not None:
        return said_mb * 2**20
    if kind == "cuda":
        return int(torch.cuda.mem_get_info()[1] * DEVICE_SHARE)
    return int(host_bytes() * HOST_SHARE)


def host_bytes() -> int:
    """The memory this process may use: the machine's, or its container's where that is less."""
    total = int(psutil.virtual_memory().total)
    said = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.is_file() else "max"
    return min(total, int(said)) if said.isdecimal() else total


def expected_bytes(entry: Entry) -> int:
    """About what a model will hold, from its weights' files; 0 where they are not here, or are no safetensors."""
    said = entry.settings
    files = [said.file] if said.file is not None else _plain_weights(entry.folder, "*/*.safetensors")
    files += _plain_weights(None if entry.controlnet is None else entry.controlnet.folder, "*.safetensors")
    per_value = place(said.device, said.dtype).torch_dtype.itemsize
    return per_value * sum(_values_in(path) for path in files if path.suffix == ".safetensors")


def _plain_weights(folder: Path | None, pattern: str) -> list[Path]:
    """Files of a folder's components; where one has weights in several variants, the plain ones."""
    if folder is None:
        return []
    found = sorted(folder.glob(pattern))
    plain = [path for path in found if path.name.count(".") == 1 or "-of-" in path.name]
    return plain or found


def _values_in(path: Path) -> int:
    """How many numbers a safetensors file holds, by its header."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError):
        return 0  # loading says by name what is wrong with it


def _tensors_of(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _union(residents: Iterable[Resident]) -> int:
    storages: dict[int, int] = {}
    for resident in residents:
        storages.update(resident.weights)
    return sum(storages.values())

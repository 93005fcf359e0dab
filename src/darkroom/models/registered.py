"""Adapters that were registered with a running service: kept in the shared storage, so that all of a fleet see them.

    adapters/NAME/DIGEST.safetensors   the file; stored first, for the second promises it
    adapters/NAME/about.json           {name, model, digest, size}; written once, by one gateway alone

No row of the job store points there, and so nothing prunes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import Conflict, CorruptWeights, NotFound, UnknownAdapter
from ..storage.files import write_whole
from ..storage.objects import ADAPTERS, Storage, key_for_about, key_for_adapter
from .adapters import DIGEST, REGISTERED, Adapter, Facts, by_name

log = logging.getLogger(__name__)

FRESH_S = 2.0  # how long a gateway may not know of what another one took in
FETCHED_BYTES = 8 * 2**30  # that are kept where files are fetched to; the least recently used go first
LATELY_S = 24 * 3600.0  # what was used since then stays all the same: some engine may have to read it again
TYPE = "application/octet-stream"


class About(BaseModel):
    """about.json; what a later release adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    model: str
    digest: str = Field(pattern=f"^{DIGEST.pattern}$")
    size: int = Field(ge=0)

    @property
    def adapter(self) -> Adapter:
        """As the catalogue has it."""
        return Adapter(self.name, self.model, REGISTERED, told=Facts(self.digest, self.size))


class Registered:
    """What is registered, listed anew every `FRESH_S`; any thread, and it blocks."""

    def __init__(self, storage: Storage, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._clock = storage, clock
        self._listed: Mapping[str, Adapter] = {}
        self._listed_at = float("-inf")
        self._lock = threading.Lock()

    def all(self) -> Mapping[str, Adapter]:
        """By name; raises `StorageUnavailable`."""
        with self._lock:
            if self._clock() - self._listed_at >= FRESH_S:
                self._listed, self._listed_at = self._list(), self._clock()
            return self._listed

    def for_model(self, model: str) -> dict[str, Adapter]:
        """Those of one model."""
        return {name: adapter for name, adapter in self.all().items() if adapter.model == model}

    def add(self, name: str, model: str, data: bytes) -> Adapter:
        """Keep a file under a name; the same again changes nothing. Raises `Conflict` where the name is another's."""
        about = About(name=name, model=model, digest=hashlib.sha256(data).hexdigest(), size=len(data))
        if self._read(name) is None:
            self._storage.put(key_for_adapter(name, about.digest), data, TYPE)
            self._storage.put_new(key_for_about(name), about.model_dump_json().encode(), "application/json")
        if self._read(name) != about:  # it was there, or another came in at the same time
            said = f"an adapter {name!r} is registered already, with another file or model"
            raise Conflict(f"{said}: take another name, or delete that one first", field="name")
        self._forget()
        return about.adapter

    def remove(self, name: str) -> None:
        """Forget it; jobs that wait for it will fail by its name. Raises `NotFound`."""
        keys = [*self._storage.list(f"{ADAPTERS}/{name}")]
        if not keys:
            raise NotFound(f"no adapter {name!r} is registered", field="name")
        self._storage.delete([key_for_about(name)])  # first: it promises the file
        self._storage.delete(keys)
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._listed_at = float("-inf")

    def _list(self) -> Mapping[str, Adapter]:
        names = {key.split("/")[1] for key in self._storage.list(ADAPTERS) if key.endswith("/about.json")}
        found = (self._read(name) for name in names)
        return by_name(about.adapter for about in found if about is not None)

    def _read(self, name: str) -> About | None:
        try:
            return About.model_validate_json(self._storage.get(key_for_about(name)))
        except NotFound:
            return None
        except ValidationError:
            log.warning("what is registered as adapter %s cannot be read", name)
            return None


def fetch(storage: Storage, adapter: str, digest: str, folder: Path) -> Path:
    """The file of a registered adapter, from the storage unless it is in `folder` already.

    Raises `UnknownAdapter` where it is not stored any more, `CorruptWeights` where other bytes are.
    """
    path = folder / f"{digest}.safetensors"
    if _is_here(path):
        return path
    try:
        data = storage.get(key_for_adapter(adapter, digest))
    except NotFound as error:
        raise UnknownAdapter(f"adapter {adapter!r} is no longer registered", field="adapters") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptWeights(f"the stored file of adapter {adapter!r} is damaged: register it anew", field="adapters")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    prune(folder, FETCHED_BYTES, time.time() - LATELY_S)
    return path


def prune(folder: Path, most_bytes: int, before: float) -> None:
    """Remove files that were last used before that time (since the epoch), the oldest first, down to `most_bytes`."""
    found = list[tuple[float, int, Path]]()
    for path in folder.glob("*.safetensors"):
        with contextlib.suppress(FileNotFoundError):  # another worker prunes too
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    held = sum(size for _, size, _ in found)
    for used_at, size, path in sorted(found):
        if held <= most_bytes or used_at >= before:
            return
        path.unlink(missing_ok=True)
        held -= size


def _is_here(path: Path) -> bool:
    """It has been used just now, then."""
    with contextlib.suppress(OSError):
        os.utime(path)
    return path.is_file()

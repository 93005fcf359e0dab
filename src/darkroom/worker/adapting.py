"""The adapters of a job, made known to the engine before it is handed over: found, fetched, read, each once a model.

The engine then keeps them in memory as far as they fit, and reads them again from where they lie here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import Job
from ..errors import CorruptWeights, DarkroomError, UnknownAdapter
from ..jobs.routing import mark_of
from ..models.adapters import REGISTERED, Adapter, Facts
from ..models.catalogue import Entry
from ..models.offer import Offer
from ..models.registered import fetch
from ..models.revision import short
from ..storage.objects import Storage

if TYPE_CHECKING:
    from ..engine.engine import Engine
    from ..models.request import ImageRequest
    from ..models.residency import Resident

MOST_TOLD = 64  # adapters of a model: a claim for a young job reads what every worker tells
FOLDER = "adapters"  # in DARKROOM_HOME: files that were fetched, by their digests


class AdapterFiles:
    """Files of adapters as a job names them: those of this process's own catalogue, and the shared storage's."""

    def __init__(self, entries: Mapping[str, Entry], storage: Storage, home: Path) -> None:
        self._entries, self._storage, self._folder = entries, storage, home / FOLDER

    def find(self, model: str, name: str, digest: str) -> Path:
        """The file of those bytes; raises `UnknownAdapter` where it is nowhere, `CorruptWeights`, `Unavailable`."""
        own = self._entries[model].adapters.get(name)
        if own is None:
            return fetch(self._storage, name, digest, self._folder)
        if own.problem is None and own.facts().digest == digest:
            return own.file
        try:
            return fetch(self._storage, name, digest, self._folder)  # its name was another's when the job was made
        except UnknownAdapter as error:
            here = own.problem or f"{own.source} {short(own.facts().digest)} is here"
            said = f"adapter {name!r} is not the file that was meant, {short(digest)}: {here}"
            raise UnknownAdapter(said, field="adapters") from error

    def discard(self, file: Path) -> bool:
        """A file is not what it was fetched as: remove it. False where it is none that was fetched."""
        if file.parent != self._folder:
            return False
        file.unlink(missing_ok=True)
        return True


def lend(engine: Engine, files: AdapterFiles, resident: Resident, served: str, shot: ImageRequest) -> dict[str, float]:
    """The request's adapters by the engine's names for them, each added at its first use; blocks for the files.

    Raises what `AdapterFiles.find` and `Engine.add_adapter` raise.
    """
    return {
        _known_as(engine, files, resident, served, name, digest): shot.adapters[name]
        for name, digest in shot.adapter_digests.items()
    }


def with_asked(offer: Offer, job: Job) -> Offer:
    """The offer with the adapters that the door let the job name: what is registered is not in a worker's catalogue."""
    said: Any = job.input.get("adapter_digests") or {}
    asked = {name: Adapter(name, job.model, REGISTERED, told=Facts(digest, 0)) for name, digest in said.items()}
    return replace(offer, adapters={**offer.adapters, **asked})


def held_adapters(engine: Engine) -> dict[str, tuple[str, ...]]:
    """What is in memory: by model the marks of adapters, the latest used last, as a claim wants to know."""
    held: dict[str, list[str]] = {}
    for known_as in engine.stats()["adapters"]:
        held.setdefault(known_as.partition("|")[0], []).append(mark_of(known_as.rpartition("|")[2]))
    return {model: tuple(marks[-MOST_TOLD:]) for model, marks in held.items()}


def _known_as(engine: Engine, files: AdapterFiles, resident: Resident, served: str, name: str, digest: str) -> str:
    """One at a time a model and file: others who want the same wait, and nobody else does.

    The file is looked for each time, and so fetched anew where it has gone: the engine may have to read it again.
    """
    model = resident.loaded.entry.name
    known_as = f"{model}|{name}|{digest}"  # the same in every worker: tapes hold it
    with resident.adapting:
        added = resident.adapters.get(known_as)
        is_first = added is None
        added = resident.adapters.setdefault(known_as, Future())
    if is_first:
        try:
            _add(engine, files, (model, name, digest), known_as, served)
            added.set_result(None)
        except BaseException as error:  # budget: those who wait for it are told, and the caller too
            del resident.adapters[known_as]  # another time it may be there
            added.set_exception(error)
    else:
        with contextlib.suppress(DarkroomError):  # in memory it may still be
            files.find(model, name, digest)
    added.result()
    return known_as


def _add(engine: Engine, files: AdapterFiles, meant: tuple[str, str, str], known_as: str, served: str) -> None:
    """A fetched file that has other bytes by now is fetched once more; another is refused by its digest."""
    file = files.find(*meant)
    try:
        engine.add_adapter(known_as, file, model=served, digest=meant[2])
    except CorruptWeights:
        if not files.discard(file):
            raise
        engine.add_adapter(known_as, files.find(*meant), model=served, digest=meant[2])

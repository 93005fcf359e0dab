"""The models that a worker serves: which, on what, loaded how, and tried once before anybody waits for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..config import Settings
from ..engine.engine import Engine
from ..errors import DarkroomError, MissingWeights, NotSupported
from ..jobs.store import Store
from ..models import loading
from ..models.catalogue import Catalogue, Entry, problem_of
from ..models.footprint import budgets, expected_bytes
from ..models.layout import read_layout
from ..models.offer import offer_of, plain_offer
from ..models.request import validate
from ..models.residency import Residency, Resident
from ..models.shelf import Shelf
from ..models.tasks import call_of
from ..storage import videos
from ..workflows.loading import Composer

log = logging.getLogger(__name__)

TAKEN_OVER = "its worker began anew"
WARM_UP = {"prompt": "a quiet field", "seed": 0, "num_inference_steps": 2}


def entries_of(catalogue: Catalogue, wanted: Sequence[str], *, is_offline: bool) -> dict[str, Entry]:
    """The models to serve by name: those `wanted` (names or paths), else all that can be served; none that is remote.

    Raises `UnknownModel`, or what is wrong with a wanted one; `MissingWeights` where there is none at all.
    """
    if wanted:
        found = [entry for entry in map(catalogue.find, wanted) if not entry.is_remote]
        for entry in found:
            if not _is_to_fetch(entry, is_offline):
                entry.check()
                if said := _cannot_write(entry):
                    raise NotSupported(f"{entry.name} cannot be served: {said}", field="models")
        entries = {entry.name: entry for entry in found}
    else:
        here = [entry for entry in catalogue.entries.values() if not entry.is_remote]
        entries = {entry.name: entry for entry in here if _can_serve(entry, is_offline)}
    if not entries:
        raise MissingWeights("no model can be served: `darkroom models list` says why", field="models")
    return entries


def preloaded(entries: Sequence[str], wanted: Sequence[str], default: str) -> tuple[str, ...]:
    """What is loaded before the worker is ready: the models that were asked for by name, else the default one."""
    if wanted:
        return tuple(entries)
    return (default,) if default in entries else tuple(entries)[:1]


def thread_rows(entries: Sequence[Entry]) -> int:
    """The fewest rows of a reproducible forward, which torch's threads must divide; 1 where each row runs alone."""
    offers = [offer_of(entry, read_layout(entry.folder)) for entry in entries if entry.folder is not None]
    offers += [plain_offer(entry) for entry in entries if entry.is_plain]
    said = [entry.settings.reproducible_rows or 1 for entry in entries if entry.folder is None and not entry.is_plain]
    rows = [*said, *(offer.fixed_rows for offer in offers)]
    return min((count for count in rows if count > 1), default=1)


def load(entry: Entry, settings: Settings) -> loading.Loaded:
    """Bring a model into memory, without the libraries' bars."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    return loading.load(entry, is_offline=settings.offline)


def residency_of(
    entries: Mapping[str, Entry],
    settings: Settings,
    kind: str,
    engine: Engine,
    bring: Callable[[Entry], loading.Loaded],
    changed: Callable[[str, Resident | None], None],
    taking: Callable[[], AbstractContextManager[Any]],
) -> Residency:
    """What keeps those models in memory, within this worker's part of the device and of the machine."""
    most = budgets(kind, settings.serve, settings.workers_here, settings.workers_on_device)
    return Residency(
        engine,
        lambda name: bring(entries[name]),
        lambda name: expected_bytes(entries[name]),
        most.device,
        changed,
        composing=Composer(entries),
        shelf=Shelf(most.host, taking),
    )


def warm(name: str, engine: Engine, residency: Residency) -> None:
    """Make a picture in two steps and throw it away: kernels are chosen, and what a step takes is known.

    Of a model that is compiled two at once: rows in company have another graph than a lone one, and nobody waits for it
    later. Of a plain pipeline, one with each model that it calls.
    """
    taken = residency.take(name)
    resident = taken.result()
    try:
        if resident.offer.form is not None:
            for part in resident.offer.form.models:
                warm(part, engine, residency)
            return
        offer = resident.offer
        short = {"num_frames": 1 + offer.layout.frame_step} if offer.moving else {}
        request = validate({**WARM_UP, **short}, offer)
        served, pipe = residency.variant(resident, request.task, request.solver)
        count = 2 if resident.loaded.entry.settings.compile else 1
        handles = [engine.submit(model=served, seed=k, **call_of(pipe, request)) for k in range(count)]
        for handle in handles:
            handle.result()
    except NotSupported:
        log.info("%s makes no picture from words alone; it is not tried before its first job", name)
    finally:
        residency.give_back(name, taken)


def _cannot_write(entry: Entry) -> str | None:
    """Why what it makes cannot be written here, in words; None where it can."""
    is_moving = entry.folder is not None and offer_of(entry, read_layout(entry.folder)).moving is not None
    return videos.NEEDS if is_moving and not videos.is_here() else None


def _can_serve(entry: Entry, is_offline: bool) -> bool:
    problem = None if _is_to_fetch(entry, is_offline) else problem_of(entry) or _cannot_write(entry)
    if problem is not None:
        log.warning("%s is not served: %s", entry.name, problem)
    return problem is None


def _is_to_fetch(entry: Entry, is_offline: bool) -> bool:
    return entry.is_of_hub and not entry.is_whole and not is_offline


def take_over(store: Store, worker_id: str) -> None:
    """Return the jobs of a process of the same name that has ended: a container that restarts keeps its pod's.

    They would wait for their leases. Before the first report, which this forgets.
    """
    try:
        returned = store.release_worker(worker_id, TAKEN_OVER, time.time())
    except DarkroomError as error:
        log.warning("if a worker of this name has died, its jobs come back when their leases run out: %s", error)
    else:
        if returned:
            log.warning("%d jobs of a worker of this name, which has ended, are in line again", len(returned))

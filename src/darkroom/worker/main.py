"""The entry point of a worker process: `darkroom worker`, and what `darkroom serve` starts for each accelerator."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType

from ..config import Settings, gateway_key
from ..engine.compiling import keep_in
from ..jobs.opening import log_risks, open_store
from ..jobs.store import Limits
from ..models.catalogue import catalogue
from ..models.device import place
from ..storage.objects import open_storage
from .events import Tell
from .facts import new_worker_id
from .notices import Notices
from .serving import entries_of, preloaded
from .worker import Worker

log = logging.getLogger(__name__)

TAKEN = "the machine is taken away"
NICE = 5  # below the gateway's: a machine's cores are for answering first, then for pictures


def worker_main(
    settings: Settings,
    worker_id: str | None = None,
    models: Sequence[str] = (),
    *,
    listeners: Iterable[Tell] = (),
) -> int:
    """Serve until told to stop; returns the exit code. Call it in the main thread of a process of its own.

    `models` are names or paths; none means what `[serve] models` says, else all that can be served. SIGTERM drains,
    a second one or SIGINT hands back what is in flight at once. Raises what keeps it from starting or broke it.
    """
    lower_priority()
    wanted = tuple(models) or settings.serve.models
    known = catalogue(settings)
    entries = entries_of(known, wanted, is_offline=settings.offline)
    keep_in(settings.home / "compiled")
    limits = Limits(settings.serve.lease_s, settings.serve.idempotency_h * 3600)
    key = gateway_key(settings)
    with contextlib.closing(open_store(settings.store_url, limits, key)) as store:
        log_risks(store)
        worker = Worker(
            settings,
            store,
            open_storage(settings.storage_url, key=key),
            entries,
            worker_id=worker_id or new_worker_id(),
            preload=preloaded(tuple(entries), wanted, known.default),
            listeners=listeners,
        )
        log.info("%s serves %s on %s", worker.id, ", ".join(entries), place())
        with signals_for(worker), notices_for(worker, settings):
            worker.run()
        end_quietly(worker)
    return 0


def lower_priority() -> None:
    """On a CPU the engine competes with the gateway, which answers in milliseconds where it is let."""
    if place().kind == "cpu" and hasattr(os, "nice"):
        os.nice(NICE)  # before any thread is made: they inherit it


@contextlib.contextmanager
def signals_for(worker: Worker) -> Iterator[None]:
    """SIGTERM drains, SIGINT stops; as before afterwards."""

    def drain(number: int, frame: FrameType | None) -> None:
        worker.ask_drain()

    def stop(number: int, frame: FrameType | None) -> None:
        worker.ask_stop()

    before = {number: signal.signal(number, what) for number, what in ((signal.SIGTERM, drain), (signal.SIGINT, stop))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def notices_for(worker: Worker, settings: Settings) -> Iterator[None]:
    """A cloud's notice that it takes the machine away drains, where `[serve] spot_notices` names the cloud."""
    said = settings.serve
    if said.spot_notices == "none":
        yield
        return
    notices = Notices(said.spot_notices, lambda: worker.ask_drain(TAKEN, hurries=False), said.spot_notice_url)
    notices.start()
    try:
        yield
    finally:
        notices.close()


def end_quietly(worker: Worker) -> None:
    """End without the threads that wait for a disk or a network: the interpreter would not, or crash on them."""
    if not worker.is_quiet:
        log.warning("threads are left waiting; the process ends without them")
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)

"""The entry point of a forwarder process: `darkroom forward`, which `darkroom serve` starts where models are remote."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterable
from types import FrameType

from ..config import Settings
from ..errors import UnknownModel
from ..jobs.opening import open_store
from ..jobs.store import Limits
from ..models.catalogue import served
from ..storage.objects import open_storage
from ..worker.events import Tell
from .forwarder import Forwarder

log = logging.getLogger(__name__)


def forward_main(settings: Settings, worker_id: str, *, listeners: Iterable[Tell] = ()) -> None:
    """Forward until told to stop. Call it in the main thread of a process of its own.

    SIGTERM drains, a second one or SIGINT hands back what is in flight at once; over there that goes on. Raises what
    keeps it from starting or broke it.
    """
    entries = [entry for entry in served(settings) if entry.is_remote]
    if not entries:
        raise UnknownModel("no model is remote: see `remote` in [models.NAME]", field="models")
    limits = Limits(settings.serve.lease_s, settings.serve.idempotency_h * 3600)
    with contextlib.closing(open_store(settings.store_url, limits)) as store:
        storage = open_storage(settings.storage_url)
        forwarder = Forwarder(settings, store, storage, entries, worker_id=worker_id, listeners=listeners)
        log.info("%s forwards jobs for %s", worker_id, ", ".join(entry.name for entry in entries))

        def drain(number: int, frame: FrameType | None) -> None:
            forwarder.ask_drain()

        def stop(number: int, frame: FrameType | None) -> None:
            forwarder.ask_stop()

        signal.signal(signal.SIGTERM, drain)
        signal.signal(signal.SIGINT, stop)
        forwarder.run()

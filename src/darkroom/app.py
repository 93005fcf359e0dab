"""The composition root: builds a process's parts from settings and wires them together."""

from __future__ import annotations

import contextlib
import socket

from .config import Settings
from .jobs.keeper import Keeper, Sweep
from .jobs.opening import open_store
from .jobs.store import Limits, Store
from .models.catalogue import catalogue
from .storage.objects import open_storage
from .telemetry.logs import configure_logs

HOUR_S = 3600.0


def store_of(settings: Settings) -> Store:
    """The job store that the settings name."""
    return open_store(settings.store_url, Limits(settings.serve.lease_s, settings.serve.idempotency_h * HOUR_S))


def run_gateway(settings: Settings, listener: socket.socket) -> None:
    """Serve HTTP on a listening socket until a signal; the keeper runs beside it."""
    from prometheus_client import CollectorRegistry

    from .gateway.app import build_app
    from .gateway.parts import Parts
    from .gateway.server import make_server
    from .telemetry.metrics import GatewayMetrics

    configure_logs(settings.serve.log_format, process="gateway")
    registry = CollectorRegistry()
    with contextlib.closing(store_of(settings)) as store:
        storage = open_storage(settings.storage_url)
        keeper = Keeper(
            store,
            lambda artifacts: storage.delete([artifact.key for artifact in artifacts]),
            settings.serve,
            sweep=Sweep(storage.older, storage.delete),
        )
        metrics = GatewayMetrics(registry, store, lambda: keeper.is_leader)
        app = build_app(Parts(settings, store, storage, catalogue(settings), registry, hearers=[metrics.hear]))
        keeper.start()
        try:
            make_server(app).run(sockets=[listener])
        finally:
            keeper.stop()


def run_worker(settings: Settings, worker_id: str) -> None:
    """Claim and run jobs until a signal."""
    from .telemetry.worker import WorkerMetrics
    from .worker.main import worker_main

    configure_logs(settings.serve.log_format, process=worker_id)
    metrics = WorkerMetrics()
    address = metrics.serve(settings.serve.worker_metrics)
    serve = settings.serve.model_copy(update={"worker_metrics": address})
    worker_main(settings.model_copy(update={"serve": serve}), worker_id, listeners=[metrics.hear])

"""The composition root: builds a process's parts from settings and wires them together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from .config import Settings, service_url
from .errors import InvalidConfig
from .jobs.keeper import Keeper, Sweep
from .jobs.opening import log_risks, open_store
from .jobs.store import Limits, Store
from .models.catalogue import catalogue
from .slack_settings import read_slack_secrets
from .storage.link import is_gateway_url
from .storage.objects import open_storage
from .storage.tapes import remove_tapes
from .telemetry.logs import configure_logs, log_attempts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .telemetry.traces import Tracing
    from .worker.events import Tell

HOUR_S = 3600.0
log = logging.getLogger(__name__)


def store_of(settings: Settings) -> Store:
    """The job store that the settings name; raises `InvalidConfig` for a gateway's URL, which is for workers."""
    check_has_store(settings)
    return open_store(settings.store_url, Limits(settings.serve.lease_s, settings.serve.idempotency_h * HOUR_S))


def check_has_store(settings: Settings) -> None:
    """Raise `InvalidConfig` where the store is a gateway, which is enough for workers alone."""
    if is_gateway_url(settings.store_url):
        said = f"{settings.store_url} is a gateway, which is a store for `darkroom worker` alone: name the store itself"
        raise InvalidConfig(said, field="serve.store")


def run_gateway(settings: Settings, listener: socket.socket, *, is_insecure: bool = False) -> None:
    """Serve HTTP on a listening socket until a signal; the keeper runs beside it.

    `is_insecure`: others may reach it without a key while there is none.
    """
    from prometheus_client import CollectorRegistry

    from .gateway.app import build_app
    from .gateway.parts import Parts
    from .gateway.server import make_server
    from .telemetry.metrics import GatewayMetrics

    configure_logs(settings.serve.log_format, process="gateway", log_prompts=settings.serve.log_prompts)
    registry = CollectorRegistry()
    with contextlib.closing(store_of(settings)) as store:
        log_risks(store)
        storage = open_storage(settings.storage_url)
        keeper = Keeper(
            store,
            lambda artifacts: storage.delete([artifact.key for artifact in artifacts]),
            settings.serve,
            sweep=Sweep(storage.older, storage.delete, functools.partial(remove_tapes, storage)),
        )
        leads = (lambda: keeper.is_leader, lambda: keeper.others_led_at)
        metrics = GatewayMetrics(registry, store, *leads, settings.serve.lease_s)
        settings = with_public_url(settings, listener.getsockname())
        parts = Parts(
            *(settings, store, storage, catalogue(settings), registry),
            hearers=[metrics.hear],
            delivery_hearers=[metrics.hear_delivery],
            is_insecure=is_insecure,
        )
        app = build_app(parts)
        with _tracing(settings, "gateway", "gateway") as tracing:
            if tracing is not None:
                from .telemetry.gateway_traces import TraceLayer

                app.add_middleware(TraceLayer, tracing=tracing)  # the last is outermost
            keeper.start()
            try:
                make_server(app).run(sockets=[listener])
            finally:
                keeper.stop()


def with_public_url(settings: Settings, bound: tuple[str, int]) -> Settings:
    """The settings, with the address that is listened on where no other is said; every interface means this machine."""
    if settings.serve.public_url is not None:
        return settings
    said = address_of(bound)
    return settings.model_copy(update={"serve": settings.serve.model_copy(update={"public_url": said})})


def address_of(bound: tuple[str, int]) -> str:
    """Where a listening socket answers on this machine; one for every interface answers on loopback too."""
    host, port = bound[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_worker(settings: Settings, worker_id: str) -> None:
    """Claim and run jobs until a signal."""
    from .telemetry.worker import WorkerMetrics
    from .worker.joining import join

    configure_logs(settings.serve.log_format, process=worker_id, log_prompts=settings.serve.log_prompts)
    settings, worker_id = join(settings, worker_id)
    from .worker.main import worker_main  # torch comes last: who may not join hears of it at once

    metrics = WorkerMetrics()
    address = metrics.serve(settings.serve.worker_metrics)
    serve = settings.serve.model_copy(update={"worker_metrics": address})
    with _tracing(settings, "worker", worker_id) as tracing:
        listeners = [metrics.hear, log_attempts, *_attempt_traces(tracing)]
        worker_main(settings.model_copy(update={"serve": serve}), worker_id, listeners=listeners)


def run_fleet(settings: Settings, arguments: Sequence[str] = ()) -> None:
    """Scale the pools of `[fleet]` until a signal; `arguments` are those of `darkroom worker` beside its id.

    Raises `InvalidConfig` and `DriverUnavailable`.
    """
    check_has_store(settings)
    if settings.fleet is None:
        raise InvalidConfig("there is no fleet to run: name a pool in [fleet.pools.NAME]", field="fleet")
    from .fleet.autoscaler import open_policy
    from .fleet.drivers import open_driver
    from .fleet.observing import Observer
    from .fleet.prices import pools_of
    from .fleet.scaler import Loop, Scaler

    configure_logs(settings.serve.log_format, process="fleet", log_prompts=settings.serve.log_prompts)
    who, said = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}", settings.fleet
    policy, pools = open_policy(said), pools_of(said, settings.serve.price_per_hour_usd)
    remote = frozenset(name for name, entry in catalogue(settings).entries.items() if entry.is_remote)
    with contextlib.closing(store_of(settings)) as store:
        log_risks(store)
        with contextlib.closing(open_driver(settings, store, arguments)) as driver:
            observer = Observer(store, driver, pools, settings.serve.lease_s, remote=remote)
            loop = Loop(Scaler(said, observer, policy, who=who), store, said.look_s)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: loop.ask_stop())
            loop.run()


def prepare_worker(settings: Settings) -> None:
    """Import what `run_worker` will, and compute nothing: workers are forked from this process."""
    configure_logs(settings.serve.log_format, process="fork-server", log_prompts=settings.serve.log_prompts)
    from .telemetry import worker  # noqa: F401
    from .worker.preparing import prepare

    prepare(settings)


def run_forwarder(settings: Settings, worker_id: str) -> None:
    """Forward jobs for remote models until a signal."""
    check_has_store(settings)
    from .forward.main import forward_main
    from .telemetry.worker import WorkerMetrics

    configure_logs(settings.serve.log_format, process=worker_id, log_prompts=settings.serve.log_prompts)
    metrics = WorkerMetrics()
    address = metrics.serve(settings.serve.worker_metrics)
    serve = settings.serve.model_copy(update={"worker_metrics": address})
    with _tracing(settings, "forwarder", worker_id) as tracing:
        listeners = [metrics.hear, log_attempts, *_attempt_traces(tracing)]
        forward_main(settings.model_copy(update={"serve": serve}), worker_id, listeners=listeners)


def run_slack(settings: Settings, listener: socket.socket | None) -> None:
    """Answer in Slack until a signal: by HTTP on a listening socket, or over one that is opened to Slack.

    Raises `InvalidConfig` and `Unavailable`.
    """
    try:
        from .integrations.slack.running import run
    except ModuleNotFoundError as error:
        said = f"{error.name} is not installed; the slack extra brings it: pip install 'darkroom-server[slack]'"
        raise InvalidConfig(said, field="slack") from error
    configure_logs(settings.serve.log_format, process="slack", log_prompts=settings.serve.log_prompts)
    for chatty in ("slack_bolt", "slack_sdk"):
        logging.getLogger(chatty).setLevel(logging.ERROR)  # below that they quote what they were sent
    secrets = read_slack_secrets(settings.slack, is_http=listener is not None)
    folder = Path.cwd() if settings.config_file is None else settings.config_file.parent
    url, home = service_url(settings.slack.url), settings.home
    asyncio.run(run(settings.slack, secrets, url, home=home, folder=folder, listener=listener))


@contextlib.contextmanager
def _tracing(settings: Settings, kind: str, process: str) -> Iterator[Tracing | None]:
    """Traces where an endpoint is set; None, and nothing is imported, where not."""
    endpoint = settings.serve.otlp_endpoint
    if endpoint is None:
        yield None
        return
    try:
        from .telemetry.traces import Tracing
    except ModuleNotFoundError as error:
        log.warning("otlp_endpoint is set, but %s is not installed: no traces. The extra `otel` brings it", error.name)
        yield None
        return
    with contextlib.closing(Tracing(endpoint, kind, process)) as tracing:
        yield tracing


def _attempt_traces(tracing: Tracing | None) -> list[Tell]:
    if tracing is None:
        return []
    from .telemetry.worker_traces import AttemptTraces

    return [AttemptTraces(tracing).hear]

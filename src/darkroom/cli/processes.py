"""`darkroom gateway`, `darkroom worker` and `darkroom forward`: the kinds of process that a service is made of."""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..app import prepare_worker, run_forwarder, run_gateway, run_worker, store_of
from ..config import Settings, with_places
from ..errors import BadInput
from ..fleet.forkserver import serve_forks
from ..fleet.supervisor import watch_parent
from ..models.catalogue import check_described, narrow, narrow_to_pool
from ..storage.link import checked_url
from .reach import check_reach, with_auth
from .start import ConfigOption, start, with_host

StoreOption = Annotated[str | None, typer.Option(help="Where jobs are kept.", show_default="as the settings say")]
StorageOption = Annotated[
    str | None, typer.Option(help="Where artifacts are kept.", show_default="as the settings say")
]
ModelOption = Annotated[str | None, typer.Option(help="Serve this model alone.", show_default="all")]
GatewayOption = Annotated[
    str | None,
    typer.Option("--gateway", help="Reach store and storage through this gateway alone.", show_default=False),
]
ParentOption = Annotated[int | None, typer.Option("--parent-fd", hidden=True)]


def worker(
    store: StoreOption = None,
    storage: StorageOption = None,
    model: ModelOption = None,
    worker_id: Annotated[str | None, typer.Option("--id", help="A name of its own.", show_default="drawn")] = None,
    gateway_url: GatewayOption = None,
    parent_fd: ParentOption = None,
    config: ConfigOption = None,
) -> None:
    """Claim jobs and run them, until SIGTERM drains it; joins a service from any machine that reaches its store, or its
    gateway with --gateway and a key of the role worker in DARKROOM_API_KEY."""
    if gateway_url is not None:
        if store or storage:
            raise BadInput("a gateway stands for store and storage: give --gateway alone", field="gateway")
        store = storage = checked_url(gateway_url)
    settings = narrow_to_pool(_begin(config, store, storage, model, parent_fd))
    run_worker(settings, worker_id or f"{socket.gethostname()}-{secrets.token_hex(4)}")


def fork_server(
    fd: Annotated[int, typer.Option("--fd")], model: ModelOption = None, config: ConfigOption = None
) -> None:
    """Fork a `darkroom worker` for each request at a socket; a local driver starts this, and people do not."""
    from . import run

    settings = narrow_to_pool(narrow(start(config)[0], model))
    if sys.platform != "darwin":  # its frameworks crash in a forked process: there each worker imports for itself
        prepare_worker(settings)
    asked = serve_forks(fd)
    if asked is not None:
        raise typer.Exit(run(asked.arguments))


def forward(
    store: StoreOption = None,
    storage: StorageOption = None,
    model: ModelOption = None,
    worker_id: Annotated[str | None, typer.Option("--id", help="A name of its own.", show_default="drawn")] = None,
    parent_fd: ParentOption = None,
    config: ConfigOption = None,
) -> None:
    """Hand the jobs for remote models to the Darkroom that runs them, until SIGTERM drains it."""
    settings = _begin(config, store, storage, model, parent_fd)
    run_forwarder(settings, worker_id or f"{socket.gethostname()}-{secrets.token_hex(4)}")


def gateway(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="The port.", show_default="8188")] = None,
    fd: Annotated[int | None, typer.Option("--fd", hidden=True)] = None,
    store: StoreOption = None,
    storage: StorageOption = None,
    model: ModelOption = None,
    is_insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen where others reach it, though nobody is asked for a key.")
    ] = False,
    parent_fd: ParentOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve HTTP alone; workers join by the same store and storage."""
    from .serve import listen_at

    settings = with_host(_begin(config, store, storage, model, parent_fd), host)  # a name that it answers to
    check_described(settings)
    if fd is None:
        with contextlib.closing(store_of(settings)) as opened:
            check_reach(settings, opened, host, is_insecure=is_insecure)
    listener = listen_at(settings, host, port) if fd is None else socket.socket(fileno=fd)
    run_gateway(with_auth(settings, listener, is_insecure=is_insecure), listener, is_insecure=is_insecure)


def _begin(
    config: Path | None, store: str | None, storage: str | None, model: str | None, parent_fd: int | None
) -> Settings:
    if parent_fd is not None:
        watch_parent(parent_fd)
    return with_places(narrow(start(config)[0], model), store, storage)

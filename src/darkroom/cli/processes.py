"""`darkroom gateway` and `darkroom worker`: the two kinds of process that a service is made of."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer

from ..app import run_gateway, run_worker
from ..config import Settings, with_places
from ..fleet.supervisor import watch_parent
from ..models.catalogue import narrow
from .start import ConfigOption, start

StoreOption = Annotated[str | None, typer.Option(help="Where jobs are kept.", show_default="as the settings say")]
StorageOption = Annotated[
    str | None, typer.Option(help="Where artifacts are kept.", show_default="as the settings say")
]
ModelOption = Annotated[str | None, typer.Option(help="Serve this model alone.", show_default="all")]
ParentOption = Annotated[int | None, typer.Option("--parent-fd", hidden=True)]


def worker(
    store: StoreOption = None,
    storage: StorageOption = None,
    model: ModelOption = None,
    worker_id: Annotated[str | None, typer.Option("--id", help="A name of its own.", show_default="drawn")] = None,
    parent_fd: ParentOption = None,
    config: ConfigOption = None,
) -> None:
    """Claim jobs and run them, until SIGTERM drains it; joins a service from any machine that reaches its store."""
    settings = _begin(config, store, storage, model, parent_fd)
    run_worker(settings, worker_id or f"{socket.gethostname()}-{secrets.token_hex(4)}")


def gateway(
    host: Annotated[str | None, typer.Option(help="The address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="The port.", show_default="8188")] = None,
    fd: Annotated[int | None, typer.Option("--fd", hidden=True)] = None,
    store: StoreOption = None,
    storage: StorageOption = None,
    model: ModelOption = None,
    is_insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen where others reach it, without API keys.")
    ] = False,
    parent_fd: ParentOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve HTTP alone; workers join by the same store and storage."""
    from .serve import listen_at

    settings = _begin(config, store, storage, model, parent_fd)
    listener = socket.socket(fileno=fd) if fd is not None else listen_at(settings, host, port, is_insecure=is_insecure)
    run_gateway(settings, listener)


def _begin(
    config: Path | None, store: str | None, storage: str | None, model: str | None, parent_fd: int | None
) -> Settings:
    if parent_fd is not None:
        watch_parent(parent_fd)
    return with_places(narrow(start(config)[0], model), store, storage)

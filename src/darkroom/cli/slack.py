"""`darkroom slack`: the bot that makes pictures in Slack."""

from __future__ import annotations

from typing import Annotated

import typer

from ..app import run_slack
from ..config import load
from ..errors import BadInput
from .serve import listen_at
from .start import ConfigOption

DEFAULT_HOST = "127.0.0.1"


def slack(
    port: Annotated[
        int | None,
        typer.Option(help="Have Slack call here by HTTP; else a socket is opened to Slack.", show_default=False),
    ] = None,
    host: Annotated[str | None, typer.Option(help="With --port, the address.", show_default=DEFAULT_HOST)] = None,
    config: ConfigOption = None,
) -> None:
    """Answer the slash command in Slack with pictures of a running service, until Ctrl-C; docs/guides/slack.md."""
    if port is None and host is not None:
        raise BadInput("host is for HTTP: give --port too", field="host")
    settings = load(config)
    listener = None if port is None else listen_at(settings, host or DEFAULT_HOST, port)
    run_slack(settings, listener)

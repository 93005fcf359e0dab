"""The gateway on its port: uvicorn with uvloop and httptools, set so that it stops promptly and says nothing twice."""

from __future__ import annotations

import logging
import socket

import uvicorn
from fastapi import FastAPI

from .parts import Gateway

STOP_S = 10  # for requests under way; streams are let go at once
MAX_SOCKET_MESSAGE = 64 * 1024  # bytes; clients have nothing to say on a WebSocket
KEEP_ALIVE_S = 75  # longer than the minute of most proxies, which must be the ones that close
PING_S = 20.0


class Server(uvicorn.Server):
    """A server that lets streams go before it waits for requests: they end with their jobs, which may take hours."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._gateway: Gateway = app.state.gateway

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams, then requests, then what they stand on."""
        self._gateway.feed.let_go()
        self._gateway.long_poll.let_go()
        await super().shutdown(sockets)


def is_news(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's tells anything: it takes a WebSocket that was refused in order for a fault."""
    return record.msg != "ASGI callable returned without completing handshake."


def make_server(app: FastAPI) -> Server:
    """A server for `build_app`'s application; `.run(sockets=[…])` serves on those until SIGTERM or SIGINT."""
    # Its lines about WebSockets quote whole URLs, with what is signed in them; ours do not.
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(logging.WARNING)
    uvicorn_log.addFilter(is_news)
    config = uvicorn.Config(
        app,
        loop="auto",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=MAX_SOCKET_MESSAGE,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # previews are compressed already
        lifespan="on",
        log_config=None,
        access_log=False,
        workers=1,
        proxy_headers=False,  # network.py hears them, from whom it trusts
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    return Server(app, config)

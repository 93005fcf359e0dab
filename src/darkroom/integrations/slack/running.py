"""The bot as a process: by a socket to Slack, or by HTTP requests from it; to the end by SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response
from slack_sdk.errors import SlackApiError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ...client.asynchronous import AsyncClient
from ...errors import InvalidConfig, Unavailable
from ...slack_settings import SlackSecrets, SlackSettings
from .bot import SlackBot
from .web import LATER, code_of

EVENTS_PATH = "/slack/events"
MOST_BYTES = 1024 * 1024  # of a request: Slack's are a hundredth of it
STOP_S = 5
RETRIES = 3  # some two seconds: somebody waits for the answer
log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """uvicorn without its own signals: ours end the bot first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def run_bot(bot: SlackBot, secrets: SlackSecrets, listener: socket.socket | None) -> None:
    """Serve until a signal: on the listening socket, or over one that is opened to Slack where there is none.

    Raises `InvalidConfig` for tokens that Slack refuses, and `Unavailable` where it is not reached.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with _started(bot, secrets):
            serving = _serving_socket(bot, secrets) if listener is None else _serving_http(bot, listener)
            async with serving:
                log.info("slack_ready", extra={"by": "socket" if listener is None else "http"})
                await stop.wait()
    except SlackApiError as error:
        said = f"Slack refuses the tokens of the app: {code_of(error)}"
        raise InvalidConfig(said, field="slack.bot_token_file") from error
    except LATER as error:
        raise Unavailable(f"{bot.settings.api_url} does not answer: {type(error).__name__}") from error


def bot_class(said: str | None, folder: Path) -> type[SlackBot]:
    """The class that `[slack] bot` names, found beside darkroom.toml too. Raises `InvalidConfig`."""
    if said is None:
        return SlackBot
    module, _, name = said.partition(":")
    sys.path.insert(0, str(folder))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidConfig(f"slack.bot: {said} cannot be imported: {error}", field="slack.bot") from error
    if not (isinstance(found, type) and issubclass(found, SlackBot)):
        raise InvalidConfig(f"slack.bot: {said} is no class that inherits SlackBot", field="slack.bot")
    return found


async def run(
    settings: SlackSettings,
    secrets: SlackSecrets,
    url: str,
    *,
    home: Path,
    folder: Path,
    listener: socket.socket | None,
) -> None:
    """Build the bot that the settings name, for the service at `url`, and serve. Raises as `run_bot` does."""
    kind = bot_class(settings.bot, folder)
    async with AsyncClient(url, retries=RETRIES) as client:
        await run_bot(kind(settings, secrets, client, home / "slack-open.json"), secrets, listener)


def http_app(bot: SlackBot) -> Starlette:
    """`POST /slack/events` for all that Slack sends, `GET /healthz` for whoever watches.

    bolt refuses (401) what is not signed with the signing secret, and what was signed more than five minutes ago.
    """

    async def events(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        try:
            asked = to_async_bolt_request(request, body)
        except ValueError:
            return PlainTextResponse("not UTF-8, or not what Slack sends", 400)
        return to_starlette_response(await bot.app.async_dispatch(asked))

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route(EVENTS_PATH, events, methods=["POST"]), Route("/healthz", healthz)])


async def _body(request: Request) -> bytes | None:
    """The whole of it; None where it is too large, known before it is read to its end."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


@contextlib.asynccontextmanager
async def _started(bot: SlackBot, secrets: SlackSecrets) -> AsyncIterator[None]:
    if secrets.app_token is not None:  # the socket's own loop would ask again for ever
        await bot.web.patient.apps_connections_open(app_token=secrets.app_token.get_secret_value())
    await bot.start()
    try:
        yield
    finally:
        await bot.stop()


@contextlib.asynccontextmanager
async def _serving_socket(bot: SlackBot, secrets: SlackSecrets) -> AsyncIterator[None]:
    assert secrets.app_token is not None
    handler = AsyncSocketModeHandler(bot.app, secrets.app_token.get_secret_value())
    try:
        await handler.connect_async()
        yield
    finally:
        await handler.close_async()


@contextlib.asynccontextmanager
async def _serving_http(bot: SlackBot, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        http_app(bot),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving

"""A subscription as Server-Sent Events (html.spec.whatwg.org/multipage/server-sent-events.html) or over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..core import Event
from ..errors import BadInput
from .events import Place

BEAT_S = 15.0  # below the minute after which proxies close a silent connection
STALL_S = 120.0  # a client that takes nothing for so long is let go; it may come back and resume
MAX_SEQ = 2**63 - 1
GOING_AWAY = 1001

Say = Callable[[Event], Awaitable[dict[str, Any] | None]]  # None: not told
TextOf = Callable[[Event, dict[str, Any]], str]


class EventStream(Response):
    """SSE: `id:` is the event's seq, `event:` its type, `data:` its JSON."""

    media_type = "text/event-stream"

    def __init__(self, subscription: Place, say: Say, beat_s: float = BEAT_S, text_of: TextOf | None = None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self.subscription, self.say, self.beat_s, self.text_of = subscription, say, beat_s, text_of or sse_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await until_either(self._pump(send), gone(receive))
        finally:
            self.subscription.close()

    async def _pump(self, send: Send) -> None:
        async with aclosing(self.subscription.events(self.beat_s)) as events:
            async for event in events:
                said = None if event is None else await self.say(event)
                text = self.text_of(event, said) if event is not None and said is not None else ": still here\n\n"
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def serve_socket(socket: WebSocket, subscription: Place, say: Say, beat_s: float = BEAT_S) -> None:
    """Send a subscription's events as JSON texts, and close after the last; what the client says is not listened to."""
    await socket.accept()
    try:
        await until_either(_pump(socket, subscription, say, beat_s), _silent(socket))
    except (WebSocketDisconnect, TimeoutError):
        pass  # it left in the middle of a sentence, or takes nothing
    finally:
        subscription.close()


async def until_either(work: Awaitable[None], gone: Awaitable[None]) -> None:
    """Work until it is done or its client is gone; the work's own error is raised."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(gone)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]


def sse_of(event: Event, said: dict[str, Any]) -> str:
    """One event; JSON has no line breaks of its own."""
    return f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(said, separators=(',', ':'))}\n\n"


def parse_seq(said: str | None, field: str) -> int:
    """Where to go on; raises `BadInput`."""
    if said is None or said == "":
        return 0
    if not (said.isascii() and said.isdigit() and len(said) <= 19) or int(said) > MAX_SEQ:
        raise BadInput(f"{field} must be the id of an event, a whole number from 0", field=field)
    return int(said)


async def _pump(socket: WebSocket, subscription: Place, say: Say, beat_s: float) -> None:
    async with aclosing(subscription.events(beat_s)) as events:
        async for event in events:
            said = None if event is None else await say(event)
            if said is not None:  # silence is no trouble: the server's own pings keep the connection alive
                async with asyncio.timeout(STALL_S):
                    await socket.send_text(json.dumps(said, separators=(",", ":")))
    await socket.close(1000 if subscription.is_over else GOING_AWAY)


async def gone(receive: Receive) -> None:
    """Return when the client has gone; its body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _silent(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass

"""JSON bodies, read so that none of them holds up the event loop: few values, and long texts in a thread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from ..errors import BadInput

MAX_VALUES = 10_000  # brackets and commas, of which there is one for each value at least
LONG = 1024 * 1024  # bytes


class BodyRoute(APIRoute):
    """A route whose JSON body is read as this room says."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route, with its request turned."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive, request._send))

        return handled


class _Request(Request):
    async def json(self) -> Any:
        """What the body says; raises `BadInput` or `JSONDecodeError`."""
        if not hasattr(self, "_json"):
            body = await self.body()
            check_values(body)
            self._json = await asyncio.to_thread(json.loads, body) if len(body) > LONG else json.loads(body)
        return self._json


def check_values(body: bytes) -> None:
    """Raise `BadInput` for more values than any request has; commas in texts count too."""
    if sum(body.count(mark) for mark in (b"[", b"{", b",")) > MAX_VALUES:
        raise BadInput(f"the body must have at most {MAX_VALUES} brackets and commas", field="body")

"""Both faces of the Python client behind one, so that every test of it runs over both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import darkroom
from darkroom import AsyncClient, Client

Open = Callable[..., Client]
FACES = ("blocking", "asyncio")


class Awaited:
    """An `AsyncClient` on a loop of its own, called as `Client` is."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._runner = asyncio.Runner()
        self._client: AsyncClient = darkroom.AsyncClient(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._called(found) if callable(found) else found

    def close(self) -> None:
        with self._runner:
            self._runner.run(self._client.aclose())

    def _called(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            said = method(*arguments, **named)
            return self._each(said) if inspect.isasyncgen(said) else self._runner.run(_come_to(said))

        return call

    def _each(self, steps: AsyncGenerator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._runner.run(_come_to(anext(steps)))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(_come_to(steps.aclose()))


async def _come_to(said: Awaitable[Any]) -> Any:
    return await said


@contextmanager
def opening(face: str) -> Iterator[Open]:
    """How to open clients of that face; all are closed at the end."""
    clients: list[Any] = []

    def open_one(*arguments: Any, **named: Any) -> Any:
        clients.append(Client(*arguments, **named) if face == "blocking" else Awaited(*arguments, **named))
        return clients[-1]

    try:
        yield open_one
    finally:
        for client in clients:
            client.close()

"""Two pairs of hands over httpx: one that blocks and never suspends, one for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx

from .wire import Answer, Lost, Request

T = TypeVar("T")
# Streams hold a connection each; how many is the caller's to decide.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


class BlockingHands:
    """For `Client`. Its methods are async by name alone: awaited, they block and return."""

    def __init__(self) -> None:
        self._http = httpx.Client(limits=LIMITS)

    async def send(self, request: Request) -> Answer:
        """One request and its whole answer."""
        async with self.open(request) as stream:
            return await stream.whole()

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncGenerator[_BlockingStream]:
        """One request whose answer is read as it comes."""
        with _losing():
            said = self._http.send(_built(self._http, request), stream=True, follow_redirects=request.may_redirect)
        try:
            yield _BlockingStream(said, request.until)
        finally:
            said.close()

    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""
        time.sleep(seconds)

    async def work(self, function: Callable[[], T]) -> T:
        """Run what may block."""
        return function()

    async def tell(self, listener: Callable[..., Any], said: Any) -> None:
        """Call the caller's own function."""
        listener(said)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()


class AsyncHands:
    """For `AsyncClient`, on asyncio's event loop."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(limits=LIMITS)

    async def send(self, request: Request) -> Answer:
        """One request and its whole answer."""
        async with self.open(request) as stream:
            return await stream.whole()

    @asynccontextmanager
    async def open(self, request: Request) -> AsyncGenerator[_AsyncStream]:
        """One request whose answer is read as it comes."""
        with _losing():
            said = await self._http.send(
                _built(self._http, request), stream=True, follow_redirects=request.may_redirect
            )
        try:
            yield _AsyncStream(said, request.until)
        finally:
            await said.aclose()

    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""
        await asyncio.sleep(seconds)

    async def work(self, function: Callable[[], T]) -> T:
        """Run what may block, in a thread."""
        return await asyncio.to_thread(function)

    async def tell(self, listener: Callable[..., Awaitable[None] | None], said: Any) -> None:
        """Call the caller's own function, and wait for one that is async."""
        told = listener(said)
        if inspect.isawaitable(told):
            await told

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()


class _BlockingStream:
    def __init__(self, said: httpx.Response, until: float | None) -> None:
        self._said, self._until, self.status = said, until, said.status_code

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes."""
        with _losing():
            for chunk in self._said.iter_bytes():
                yield chunk

    async def whole(self) -> Answer:
        """Wait for all of it."""
        return await _answer(self._said, self.chunks(), self._until)


class _AsyncStream:
    def __init__(self, said: httpx.Response, until: float | None) -> None:
        self._said, self._until, self.status = said, until, said.status_code

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes."""
        with _losing():
            async for chunk in self._said.aiter_bytes():
                yield chunk

    async def whole(self) -> Answer:
        """Wait for all of it."""
        return await _answer(self._said, self.chunks(), self._until)


@contextmanager
def _losing() -> Iterator[None]:
    try:
        yield
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise Lost(str(error) or type(error).__name__) from error


def _built(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    return http.build_request(
        request.method,
        request.url,
        headers=dict(request.headers),
        params=dict(request.params) or None,  # empty ones would take the query out of a signed URL
        content=request.content,
        timeout=request.timeout_s,
    )


async def _answer(said: httpx.Response, chunks: AsyncGenerator[bytes], until: float | None) -> Answer:
    content = bytearray()
    async with aclosing(chunks):
        async for chunk in chunks:
            content += chunk
            if until is not None and time.monotonic() > until:
                raise Lost("it is not all there in time")
    # Without its query, which may be a signature: this is for messages.
    url = str(said.url.copy_with(query=None))
    return Answer(url, said.status_code, {name.lower(): value for name, value in said.headers.items()}, bytes(content))

"""Where blocking work runs, so that the event loop never waits for a disk or a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ..errors import StoreUnavailable

STORE_THREADS = 8
FILE_THREADS = 8
FETCH_THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Pools: slow storage must not hold up a status read, and neither must a commit that waits for the disk.

    `lost` is why the store cannot be reached just now, None where it can. While it is set by whoever keeps trying, the
    others are refused at once: each would otherwise hold a thread for as long as a connection takes to fail.
    """

    def __init__(self) -> None:
        self.lost: str | None = None
        self._store = ThreadPoolExecutor(STORE_THREADS, "gateway-store")
        self._insert = ThreadPoolExecutor(1, "gateway-insert")
        self._files = ThreadPoolExecutor(FILE_THREADS, "gateway-files")
        self._fetch = ThreadPoolExecutor(FETCH_THREADS, "gateway-fetch")
        self._watch = ThreadPoolExecutor(1, "gateway-watch")

    async def store(self, verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A verb of the store; raises `StoreUnavailable`."""
        self._check_store()
        return await _run(self._store, verb, *args, **kwargs)

    async def insert(self, verb: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The store's insert; one at a time, as there is one group commit at a time. Raises `StoreUnavailable`."""
        self._check_store()
        return await _run(self._insert, verb, *args, **kwargs)

    async def files(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Storage, and the reading of pictures."""
        return await _run(self._files, work, *args, **kwargs)

    async def fetch(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Downloads from elsewhere, which may take as long as they like."""
        return await _run(self._fetch, work, *args, **kwargs)

    async def watch(self, look: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """For those who watch: asked also while the store is away, for that is what they want to know."""
        return await _run(self._watch, look, *args, **kwargs)

    def close(self) -> None:
        """Wait for what has begun, so that nothing is left half done in a store that is about to be closed."""
        for pool in (self._insert, self._store, self._files, self._fetch, self._watch):
            pool.shutdown(wait=True, cancel_futures=True)

    def _check_store(self) -> None:
        if self.lost is not None:
            raise StoreUnavailable(self.lost)


async def each_of(threads: Threads, parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Parts of an object as they are read; the last is followed by nothing."""
    while True:
        part = await threads.files(next, parts, b"")
        if not part:
            return
        yield part


async def _run(pool: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))

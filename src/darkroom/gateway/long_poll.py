"""Long polls of workers that joined: one thread waits for the store, however many wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from ..errors import StoreUnavailable
from ..jobs.store import Store

LOOK_S = 1.0  # the longest that the thread waits at once, and so what it holds up when the gateway stops
IDLE_S = 10.0  # nobody has asked for so long: it stops
AWAY_S = 1.0  # between two looks while the store is away
MOST_S = 20.0  # a long poll
MOST_WORKERS = 10_000  # whose last claim is remembered


class LongPoll:
    """Lets workers go when a job may have become claimable or a cancel was asked, also where that was since their last
    claim."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rings = 0
        self._seen: dict[str, int] = {}
        self._ringing = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._is_closed = False
        self._pool = ThreadPoolExecutor(1, "gateway-long-poll")

    def claims(self, worker: str) -> None:
        """The worker is about to claim: it will know what happened until now. In any thread."""
        if len(self._seen) >= MOST_WORKERS:
            self._seen.clear()
        self._seen[worker] = self._rings

    async def wait(self, worker: str, timeout_s: float) -> None:
        """Return when it has rung since the worker's last claim here or its last wait, or after that time; on the event
        loop."""
        self._asked_at = time.monotonic()
        if self._looking is None or self._looking.done():
            self._rings += 1  # nobody has looked until now
            self._looking = asyncio.create_task(self._look())
        if self._seen.get(worker) == self._rings and not self._is_closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(timeout_s, MOST_S)):
                    await self._ringing.wait()
        # What it claims next it may claim at another gateway, of which nothing is heard here.
        self.claims(worker)

    def let_go(self) -> None:
        """Let those who wait go, and nobody wait any more; on the event loop."""
        self._is_closed = True
        self._ring()

    async def stop(self) -> None:
        """The same, and the thread ends."""
        self.let_go()
        if self._looking is not None:
            await asyncio.wait([self._looking])
        self._pool.shutdown(wait=True)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_closed and time.monotonic() - self._asked_at < IDLE_S:
            began = time.monotonic()
            try:
                await loop.run_in_executor(self._pool, self._store.wait_for_work, LOOK_S)
            except StoreUnavailable:
                await asyncio.sleep(AWAY_S)
            if time.monotonic() - began < LOOK_S:
                self._ring()

    def _ring(self) -> None:
        self._rings += 1
        self._ringing.set()
        self._ringing = asyncio.Event()

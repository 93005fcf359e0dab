"""Turns at pictures that lie elsewhere: a fetch takes as long as its server likes, and threads for it are few.

Who may send no job just now has nothing fetched; of one tenant's fetches two run at once and a few wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from ..errors import TooBusy
from ..jobs.allowances import exceeded
from ..jobs.store import Store
from .access import Caller
from .threads import Threads

AT_ONCE, IN_LINE = 2, 8  # of one tenant
LEAST_S = 1e-9  # of a device: what is to be done is not known yet, only that it is something

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class _Line:
    """One tenant's fetches, those that wait too."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    count: int = 0


class Fetches:
    """Runs fetches; its methods belong to the event loop."""

    def __init__(self, store: Store, threads: Threads, clock: Callable[[], float]) -> None:
        self._store, self._threads, self._clock = store, threads, clock
        self._lines: dict[str, _Line] = {}

    async def run(self, caller: Caller, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the work returns; raises `LimitExceeded`, `TooBusy` or `StoreUnavailable` before it has begun."""
        await self._check(caller)
        line = self._lines.setdefault(caller.crowd, _Line())
        if line.count >= AT_ONCE + IN_LINE:
            raise TooBusy(f"{line.count} of your requests wait for pictures from elsewhere: try again a little later")
        line.count += 1
        try:
            async with line.turns:
                return await self._threads.fetch(work, *args, **kwargs)
        finally:
            line.count -= 1
            if line.count == 0:
                self._lines.pop(caller.crowd, None)

    async def _check(self, caller: Caller) -> None:
        """Look at what the key has left; what a job may take of it is decided when that is inserted."""
        if not caller.account:
            return
        now = self._clock()
        used = await self._threads.store(self._store.usage, caller.account, now)
        error = exceeded(caller.allowance, used, LEAST_S, 0.0, now)
        if error is not None:
            raise error

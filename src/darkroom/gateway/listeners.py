"""One client's queue of events: of one job, or of all jobs of a tenant. It belongs to the event loop.

A slow client loses old progress and previews, which newer ones make worthless, and never a transition: where its queue
is full of those, the queue is thrown away and read again from the store, which has them all.
"""

from __future__ import annotations

import asyncio

from ..core import Event

PENDING = 64  # events that wait for one client of one job
PENDING_OF_ALL = 4096  # and of one that follows all jobs; of progress and previews only each job's latest
DROPPABLE = frozenset({"progress", "preview"})


class Listener:
    """One client's queue of one job's events; who `waits` for its end needs no progress."""

    def __init__(self, job_id: str, tenant: str = "", *, waits: bool = False) -> None:
        self.job_id, self.tenant, self.waits = job_id, tenant, waits
        self.is_stale = False  # something was missed, or given up: the store knows it
        self.is_closed = False
        self._pending: dict[tuple[str, int | str], Event] = {}  # in the order of their seq
        self._wake = asyncio.Event()

    def push(self, event: Event) -> None:
        """Keep an event for the client; never waits."""
        if self.waits and event.type in DROPPABLE:
            return
        key = (event.type, "" if event.type == "preview" else event.seq)
        self._pending.pop(key, None)
        if len(self._pending) >= PENDING and not self._drop():
            self.give_up()
        self._keep(key, event)

    def give_up(self) -> None:
        """Forget what waits: the client's next look goes to the store."""
        self._pending.clear()
        self.is_stale = True
        self._wake.set()

    def close(self) -> None:
        """Let the client go; the server stops."""
        self.is_closed = True
        self._wake.set()

    def catch_up(self) -> None:
        """The store is about to be read: what waits is in there."""
        self._pending.clear()
        self.is_stale = False

    async def next(self, wait_s: float) -> Event | None:
        """The next event; None after `wait_s`, or where the store must be read or the client let go."""
        try:
            async with asyncio.timeout(wait_s):
                while not self._pending and not self.is_stale and not self.is_closed:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return None
        return self._pending.pop(next(iter(self._pending))) if self._pending and not self.is_stale else None

    def _keep(self, key: tuple[str, int | str], event: Event) -> None:
        self._pending[key] = event
        self._wake.set()

    def _drop(self) -> bool:
        """Drop the oldest event that may be lost; whether there was one."""
        found = next((key for key, old in self._pending.items() if old.type in DROPPABLE), None)
        return found is not None and self._pending.pop(found) is not None


class WideListener(Listener):
    """One client's queue of all jobs' events: `whose` they are (None: everybody's), `tenant` who listens."""

    def __init__(self, whose: str | None, tenant: str) -> None:
        super().__init__("", tenant)
        self.whose = whose
        self.seen = 0  # the client has had all of its events up to that seq, or they are no longer here

    def hear(self, owner: str | None, event: Event) -> None:
        """Keep an event of that tenant's job for the client, if it is for them."""
        if self.whose is None or self.whose == owner:
            self.push(event)
        elif not self._pending and not self.is_stale:
            self.seen = event.seq

    def push(self, event: Event) -> None:
        """Keep an event, whose data says the job; newer progress of a job takes the place of older."""
        key = (event.type, event.data["job_id"] if event.type in DROPPABLE else event.seq)
        self._pending.pop(key, None)
        if len(self._pending) >= PENDING_OF_ALL:
            self._pending = {each: old for each, old in self._pending.items() if old.type not in DROPPABLE}
        if len(self._pending) >= PENDING_OF_ALL:
            self.give_up()
        self._keep(key, event)

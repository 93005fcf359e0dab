"""Jobs' events to many clients: one thread follows the store for all of them, and each has a bounded queue of its own.

            store.tail (one thread) --> Feed --> Listener (queue) --> SSE or WebSocket
                                                     ^
            store.events (the past) -----------------'   at the start, and whenever a queue had to be given up

A slow client loses old progress and previews, which newer ones make worthless. It never loses a transition: where its
queue is full of those, the queue is thrown away and read again from the store, which has them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

from ..core import FINAL_EVENTS, Event
from ..errors import NotFound, StoreUnavailable, TooBusy
from ..jobs.store import FETCH_LIMIT, Noted, Store
from .threads import Threads

PENDING = 64  # events that wait for one client
DROPPABLE = frozenset({"progress", "preview"})
TAIL_S = 0.5  # how long one look at the store waits; also how long a stop may take
RETRY_S = 0.5
SETTLE_S = 4 * TAIL_S
MAX_LISTENERS = 4096
MAX_OF_ONE = 1024  # of them, of one tenant

Hearer = Callable[[str, Event], None]
IsWelcome = Callable[[], Awaitable[bool]]
log = logging.getLogger(__name__)


async def anybody() -> bool:
    """For clients that nothing can be taken from."""
    return True


class Listener:
    """One client's queue of one job's events; belongs to the event loop."""

    def __init__(self, job_id: str, tenant: str = "") -> None:
        self.job_id, self.tenant = job_id, tenant
        self.is_stale = False  # something was missed, or given up: the store knows it
        self.is_closed = False
        self._pending: deque[Event] = deque()
        self._wake = asyncio.Event()

    def push(self, event: Event) -> None:
        """Keep an event for the client; never waits."""
        if event.type == "preview":
            self._drop(lambda old: old.type == "preview")
        if len(self._pending) >= PENDING and not self._drop(lambda old: old.type in DROPPABLE):
            self.give_up()
        self._pending.append(event)
        self._wake.set()

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
        return self._pending.popleft() if self._pending and not self.is_stale else None

    def _drop(self, is_droppable: Callable[[Event], bool]) -> bool:
        """Drop the oldest such event that waits; whether there was one."""
        found = next((old for old in self._pending if is_droppable(old)), None)
        if found is not None:
            self._pending.remove(found)
        return found is not None


class Feed:
    """All listeners, and the thread that follows the store."""

    def __init__(self, store: Store, threads: Threads, hearers: Sequence[Hearer] = ()) -> None:
        self._store, self._threads, self._hearers = store, threads, tuple(hearers)
        self._listeners: dict[str, set[Listener]] = {}
        self._count, self._looks = 0, 0
        self._counts: Counter[str] = Counter()  # of listeners, by who listens
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._follow, name="gateway-tail", daemon=True)

    def start(self) -> None:
        """Begin to follow; call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def let_go(self) -> None:
        """End every stream: their clients come back to whoever serves next."""
        for listener in [each for those in self._listeners.values() for each in those]:
            listener.close()

    def stop(self) -> None:
        """Stop following; blocks for up to `TAIL_S`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    async def settle(self) -> None:
        """Return when all that happened before has reached the listeners, or the store is away."""
        seen = self._looks + 2  # the look that is under way may have begun before
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while self._looks < seen:
                    await asyncio.sleep(SETTLE_S / 200)

    async def subscribe(
        self, job_id: str, after: int, is_welcome: IsWelcome = anybody, tenant: str = ""
    ) -> Subscription:
        """A place in a job's events behind `after`; raises `NotFound`, `TooBusy` or `StoreUnavailable`.

        It ends where the client is no longer welcome, which is asked with each event and in each silence. `tenant` is
        who listens.
        """
        listener = self._join(job_id, tenant)
        subscription = Subscription(self, listener, after, is_welcome)
        try:
            await subscription.read_past()
        except BaseException:
            self.leave(listener)
            raise
        return subscription

    async def read(self, job_id: str, after: int) -> tuple[bool, list[Event]]:
        """Whether the job has ended, and its events behind `after`; raises `NotFound` or `StoreUnavailable`."""
        return await self._threads.store(self._read, job_id, after)

    def leave(self, listener: Listener) -> None:
        """The client is gone, or has all it came for."""
        those = self._listeners.get(listener.job_id, set())
        if listener in those:
            those.remove(listener)
            self._count -= 1
            self._counts[listener.tenant] -= 1
            if not self._counts[listener.tenant]:
                del self._counts[listener.tenant]
        if not those:
            self._listeners.pop(listener.job_id, None)

    def _join(self, job_id: str, tenant: str) -> Listener:
        if self._count >= MAX_LISTENERS:
            raise TooBusy(f"{MAX_LISTENERS} clients follow events here already; ask for the job's state instead")
        if self._counts[tenant] >= MAX_OF_ONE:
            raise TooBusy(f"you follow events {MAX_OF_ONE} times here already; ask for the job's state instead")
        listener = Listener(job_id, tenant)
        self._listeners.setdefault(job_id, set()).add(listener)
        self._count += 1
        self._counts[tenant] += 1
        return listener

    def _read(self, job_id: str, after: int) -> tuple[bool, list[Event]]:
        job = self._store.get(job_id)  # before its events: a job that is final here has its last event there
        if job is None:
            raise NotFound(f"there is no job {job_id!r}", field="job_id")
        found: list[Event] = []
        while len(page := self._store.events(job_id, found[-1].seq if found else after)) >= FETCH_LIMIT:
            found += page
        return job.is_final, found + page

    def _follow(self) -> None:
        """The thread's loop."""
        after: int | None = None
        was_lost = True  # at the start as well: somebody may have read the past before we followed
        while not self._stopping.is_set():
            try:
                after, noted = self._store.tail(after, TAIL_S)
                self._threads.lost = None
                self._hand_over(was_lost, noted)
                was_lost = False
                self._looks += 1
                self._tell(noted)
            except StoreUnavailable as error:
                was_lost, self._threads.lost = True, error.message
                self._stopping.wait(RETRY_S)
            except Exception:  # budget: the thread's outermost loop; every stream of this gateway depends on it
                was_lost = True
                log.exception("tail_failed")
                self._stopping.wait(RETRY_S)

    def _hand_over(self, was_lost: bool, noted: Sequence[Noted]) -> None:
        assert self._loop is not None
        if was_lost or noted:
            self._loop.call_soon_threadsafe(self._deliver, was_lost, noted)

    def _deliver(self, was_lost: bool, noted: Iterable[Noted]) -> None:
        if was_lost:
            for listener in [each for those in self._listeners.values() for each in those]:
                listener.give_up()
        for each in noted:
            for listener in self._listeners.get(each.job_id, ()):
                listener.push(each.event)

    def _tell(self, noted: Iterable[Noted]) -> None:
        """For those who count; after the clients, who wait."""
        for each in noted:
            for hear in self._hearers:
                hear(each.job_id, each.event)


class Subscription:
    """A client's place in a job's events: the past, then the present, each once and in order, to the final one."""

    def __init__(self, feed: Feed, listener: Listener, after: int, is_welcome: IsWelcome) -> None:
        self._feed, self._listener, self._is_welcome = feed, listener, is_welcome
        self._past: deque[Event] = deque()
        self._is_final = False
        self.after = after
        self.is_over = False  # the client has had all there will ever be

    @property
    def has_nothing(self) -> bool:
        """Whether the job has ended and the client has had all of it."""
        return self._is_final and not self._past

    async def read_past(self) -> None:
        """Ask the store what there is behind `after`; raises `NotFound` or `StoreUnavailable`."""
        self._listener.catch_up()
        self._is_final, events = await self._feed.read(self._listener.job_id, self.after)
        self._past = deque(events)

    async def events(self, beat_s: float) -> AsyncGenerator[Event | None]:
        """Events to the final one; None whenever nothing happened for `beat_s`.

        Ends early when the server stops, and where the client is no longer welcome.
        """
        try:
            while not self._listener.is_closed:
                event = await self._next(beat_s)
                if not await self._is_welcome():
                    return
                if event is not None and event.seq <= self.after:
                    continue
                if event is not None:
                    self.after = event.seq
                self.is_over = (event is not None and event.type in FINAL_EVENTS) or self.has_nothing
                yield event
                if self.is_over:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Give the place up; twice does no harm."""
        self._feed.leave(self._listener)

    async def _next(self, beat_s: float) -> Event | None:
        if self._listener.is_stale and not self._past:
            await self._read_again(beat_s)
        if self._past:
            return self._past.popleft()
        if self._is_final:
            return None
        event = await self._listener.next(beat_s)
        if event is None:
            self._listener.is_stale = True  # a long silence: the job may be gone, by way of another gateway
        return event

    async def _read_again(self, beat_s: float) -> None:
        try:
            await self.read_past()
        except StoreUnavailable:
            self._listener.is_stale = True
            await asyncio.sleep(min(RETRY_S, beat_s))
        except NotFound:
            self._is_final = True  # forgotten meanwhile; there is nothing more to come

"""Jobs' events to many clients: one thread follows the store for all of them, and each has a bounded queue of its own.

            store.tail (one thread) --> Feed --> Listener (queue) --> SSE or WebSocket
                                                     ^
            store.events (the past) -----------------'   at the start, and whenever a queue had to be given up

What a slow client loses is in listeners.py; those who follow all jobs at once are in wide.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from ..core import FINAL_EVENTS, Event
from ..errors import NotFound, StoreUnavailable, TooBusy
from ..jobs.store import FETCH_LIMIT, Noted, Store
from .access import GUESTS, is_of_guests
from .listeners import Listener, WideListener
from .owners import Owners
from .threads import Threads

TAIL_S = 0.5  # how long one look at the store waits; also how long a stop may take
RETRY_S = 0.5
SETTLE_S = 4 * TAIL_S
MAX_LISTENERS = 4096
MAX_OF_ONE = 1024  # of them, of one tenant
MAX_OF_HOUSE = 32  # of the guests of one address
MAX_OF_GUESTS = MAX_LISTENERS // 2  # of all guests together
READERS = 2  # of all jobs' past at once

Hearer = Callable[[str, Event], None]
IsWelcome = Callable[[], Awaitable[bool]]
log = logging.getLogger(__name__)


async def anybody() -> bool:
    """For clients that nothing can be taken from."""
    return True


class Feed:
    """All listeners, and the thread that follows the store."""

    def __init__(self, store: Store, threads: Threads, hearers: Sequence[Hearer] = ()) -> None:
        self._store, self._threads, self._hearers = store, threads, tuple(hearers)
        self._listeners: dict[str, set[Listener]] = {}
        self._wide: set[WideListener] = set()
        self._untold: deque[tuple[Hearer, Noted]] = deque()
        self._owners = Owners(store)
        self._count, self._looks, self._reached = 0, 0, 0
        self._readers = asyncio.Semaphore(READERS)
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
        for listener in list(self._everyone()):
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
        self, job_id: str, after: int, is_welcome: IsWelcome = anybody, tenant: str = "", *, waits: bool = False
    ) -> Subscription:
        """A place in a job's events behind `after`; raises `NotFound`, `TooBusy` or `StoreUnavailable`.

        It ends where the client is no longer welcome, which is asked with each event and in each silence. `tenant` is
        who listens; who `waits` hears no progress while it does.
        """
        listener = self._join(job_id, tenant, waits)
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

    def join_all(self, whose: str | None, tenant: str) -> WideListener:
        """A queue of the events of all jobs from now on, of the tenant `whose` (None: of all); raises `TooBusy`."""
        self._take_room(tenant)
        listener = WideListener(whose, tenant)
        self._wide.add(listener)
        return listener

    async def present(self) -> int:
        """The seq of the store's last event; raises `StoreUnavailable`."""
        reached, _ = await self._threads.store(self._store.tail, None, 0.0)
        return reached

    async def read_all(self, whose: str | None, after: int) -> tuple[int, bool, list[Event]]:
        """A page of such events that the store has behind `after`: the seq that it reaches, whether the listeners may
        have missed some behind it, and the events. Raises `StoreUnavailable`. Few read at once: others need the store.
        """
        async with self._readers:
            seen = self._reached  # what the thread finds from now on waits in the listener's queue
            reached, events = await self._threads.store(self._read_all, whose, after)
        return reached, after < reached < seen, events

    def leave(self, listener: Listener) -> None:
        """The client is gone, or has all it came for."""
        those: set[Any] = self._wide if isinstance(listener, WideListener) else self._those(listener.job_id)
        if listener in those:
            those.remove(listener)
            self._count -= 1
            for name in _bounds_of(listener.tenant):
                self._counts[name] -= 1
                if not self._counts[name]:
                    del self._counts[name]
        if not self._those(listener.job_id):
            self._listeners.pop(listener.job_id, None)

    def _those(self, job_id: str) -> set[Listener]:
        return self._listeners.get(job_id, set())

    def _everyone(self) -> Iterator[Listener]:
        yield from (each for those in self._listeners.values() for each in those)
        yield from self._wide

    def _join(self, job_id: str, tenant: str, waits: bool) -> Listener:
        self._take_room(tenant)
        listener = Listener(job_id, tenant, waits=waits)
        self._listeners.setdefault(job_id, set()).add(listener)
        return listener

    def _take_room(self, tenant: str) -> None:
        if self._count >= MAX_LISTENERS:
            raise TooBusy(f"{MAX_LISTENERS} clients follow events here already; ask for the job's state instead")
        bounds = _bounds_of(tenant)
        for name, (most, who) in bounds.items():
            if self._counts[name] >= most:
                raise TooBusy(f"{who} follow events {most} times here already; ask for the job's state instead")
        self._count += 1
        self._counts.update(bounds.keys())

    def _read(self, job_id: str, after: int) -> tuple[bool, list[Event]]:
        job = self._store.get(job_id)  # before its events: a job that is final here has its last event there
        if job is None:
            raise NotFound(f"there is no job {job_id!r}", field="job_id")
        found: list[Event] = []
        while len(page := self._store.events(job_id, found[-1].seq if found else after)) >= FETCH_LIMIT:
            found += page
        return job.is_final, found + page

    def _read_all(self, whose: str | None, after: int) -> tuple[int, list[Event]]:
        reached, noted = self._store.tail(after, 0.0)
        return reached, [event for owner, event in self._owners.told(noted) if whose is None or owner == whose]

    def _follow(self) -> None:
        """The thread's loop."""
        after: int | None = None
        was_lost = True  # at the start as well: somebody may have read the past before we followed
        while not self._stopping.is_set():
            try:
                after, noted = self._store.tail(after, TAIL_S)
                self._reached = after
                self._threads.lost = None
                self._hand_over(was_lost, noted)
                was_lost = False
                try:
                    self._hand_over_all(noted)
                finally:  # those who count hear it, whether or not the store says whose it is
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
        # Who joins from now on reads what is left out here from the store: it was there before it was noted.
        heard = [each for each in noted if each.job_id in self._listeners]
        if was_lost or heard:
            self._loop.call_soon_threadsafe(self._deliver, was_lost, heard)

    def _hand_over_all(self, noted: Sequence[Noted]) -> None:
        """To those who follow all jobs, behind the others: whose a job is may have to be asked for."""
        if noted and self._wide:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._deliver_all, self._owners.told(noted))

    def _deliver_all(self, told: Iterable[tuple[str | None, Event]]) -> None:
        for owner, event in told:
            for listener in self._wide:
                listener.hear(owner, event)

    def _deliver(self, was_lost: bool, noted: Iterable[Noted]) -> None:
        if was_lost:
            for listener in list(self._everyone()):
                listener.give_up()
        for each in noted:
            for listener in self._listeners.get(each.job_id, ()):
                listener.push(each.event)

    def _tell(self, noted: Iterable[Noted]) -> None:
        """For those who count; after the clients, who wait. What the store kept them from is told when it is back."""
        self._untold.extend((hear, each) for each in noted for hear in self._hearers)
        while self._untold:
            hear, each = self._untold.popleft()
            try:
                hear(each.job_id, each.event)
            except StoreUnavailable:
                self._untold.appendleft((hear, each))
                raise


def _bounds_of(tenant: str) -> dict[str, tuple[int, str]]:
    """By what listeners of who listens are counted: how many there may be, and whose they are."""
    if not is_of_guests(tenant):
        return {tenant: (MAX_OF_ONE, "you")}
    return {tenant: (MAX_OF_HOUSE, "guests of your address"), GUESTS: (MAX_OF_GUESTS, "guests")}


class Place:
    """A client's place in events: the past, then the present, each once and in order.

    Says how what comes next is found (`_next`), and after which event nothing follows (`_is_last`).
    """

    _listener: Listener | WideListener

    def __init__(self, feed: Feed, after: int, is_welcome: IsWelcome) -> None:
        self._feed, self._is_welcome = feed, is_welcome
        self._past: deque[Event] = deque()
        self.after = after
        self.is_over = False  # the client has had all there will ever be

    async def events(self, beat_s: float) -> AsyncGenerator[Event | None]:
        """Events to the last one; None whenever nothing happened for `beat_s`.

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
                self.is_over = self._is_last(event)
                yield event
                if self.is_over:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Give the place up; twice does no harm."""
        self._feed.leave(self._listener)

    async def _next(self, beat_s: float) -> Event | None:
        raise NotImplementedError

    def _is_last(self, event: Event | None) -> bool:
        raise NotImplementedError


class Subscription(Place):
    """A client's place in a job's events, which have a final one."""

    _listener: Listener

    def __init__(self, feed: Feed, listener: Listener, after: int, is_welcome: IsWelcome) -> None:
        super().__init__(feed, after, is_welcome)
        self._listener, self._is_final = listener, False

    @property
    def has_nothing(self) -> bool:
        """Whether the job has ended and the client has had all of it."""
        return self._is_final and not self._past

    async def read_past(self) -> None:
        """Ask the store what there is behind `after`; raises `NotFound` or `StoreUnavailable`."""
        self._listener.catch_up()
        self._is_final, events = await self._feed.read(self._listener.job_id, self.after)
        self._past = deque(events)

    def _is_last(self, event: Event | None) -> bool:
        return (event is not None and event.type in FINAL_EVENTS) or self.has_nothing

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

"""A client's place in the events of all jobs, of a tenant or of everybody: one stream for as many jobs as it has.

The past comes page by page out of the store; what happens meanwhile waits in the client's queue.
"""

from __future__ import annotations

import asyncio

from ..core import Event
from ..errors import StoreUnavailable
from .events import RETRY_S, Feed, IsWelcome, Place
from .listeners import WideListener


async def follow_all(
    feed: Feed, whose: str | None, after: int | None, is_welcome: IsWelcome, tenant: str
) -> WideSubscription:
    """A place in the events of the jobs of `whose` (None: everybody's) behind `after` (None: from now on).

    Raises `TooBusy` or `StoreUnavailable`. `tenant` is who listens.
    """
    listener = feed.join_all(whose, tenant)
    try:
        present = await feed.present()
    except BaseException:
        feed.leave(listener)
        raise
    listener.is_stale = after is not None
    listener.seen = present if after is None else min(after, present)  # a store that was emptied counts anew
    return WideSubscription(feed, listener, is_welcome)


class WideSubscription(Place):
    """A client's place in the events of many jobs, which have no last one."""

    _listener: WideListener

    def __init__(self, feed: Feed, listener: WideListener, is_welcome: IsWelcome) -> None:
        super().__init__(feed, listener.seen, is_welcome)
        self._listener = listener

    def _is_last(self, event: Event | None) -> bool:
        return False

    async def _next(self, beat_s: float) -> Event | None:
        while not self._past and self._listener.is_stale and not self._listener.is_closed:
            try:
                await self._read_page()
            except StoreUnavailable:
                self._listener.is_stale = True
                await asyncio.sleep(min(RETRY_S, beat_s))
                return None
        return self._past.popleft() if self._past else await self._listener.next(beat_s)

    async def _read_page(self) -> None:
        """Read what comes next out of the store; raises `StoreUnavailable`."""
        listener, start = self._listener, max(self.after, self._listener.seen)
        listener.catch_up()
        reached, has_more, events = await self._feed.read_all(listener.whose, start)
        self._past.extend(events)
        if has_more:
            listener.is_stale = True
        # Where nothing is lacking, what others did meanwhile counts as seen, too.
        listener.seen = reached if listener.is_stale else max(listener.seen, reached)

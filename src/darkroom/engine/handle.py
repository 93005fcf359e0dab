"""What `Engine.submit` gives back: a result to wait for, progress, events, cancel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from ..core import FINAL_EVENTS, Event
from ..errors import Conflict
from . import fiber

if TYPE_CHECKING:
    from .tape import Tape

log = logging.getLogger(__name__)

METRICS = ("queued_s", "encode_s", "denoise_s", "decode_s", "device_s", "host_s")


class Handle:
    """One request as its submitter sees it; every method may be called from any thread.

    `is_engines` says whether the calling thread is its engine's, which must not wait for it.
    """

    def __init__(self, is_engines: Callable[[], bool] = lambda: False) -> None:
        self._is_engines = is_engines
        self._request_cancel: Callable[[], None] = lambda: None
        self._make_tape: Callable[[], Tape] = _ended
        self._keeps_tape = False
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._result: Any = None
        self._error: BaseException | None = None
        self._is_done = False
        self._progress = 0.0
        self._metrics = dict.fromkeys(METRICS, 0.0)
        self._seq = 0
        self._listeners: list[Callable[[], None]] = []
        self._told: list[Callable[[Event], None]] = []

    def result(self, timeout: float | None = None) -> Any:
        """What the pipeline's own `__call__` returns; waits at most `timeout` seconds.

        Raises `TimeoutError` (the request goes on), `JobCancelled`, `DeadlineExceeded`, the pipeline's own error;
        `Conflict` where an engine's own thread would wait for ever.
        """
        if timeout != 0:
            self._check_may_wait()
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_done, timeout):
                raise TimeoutError(f"not done after {timeout} s; it goes on, ask again or cancel it")
        if self._error is not None:
            raise self._error
        return self._result

    def let_go(self) -> None:
        """Keep what came of it no longer, its submitter having taken it: the frames of a video are large."""
        self._result = None

    def cancel(self) -> None:
        """Ask it to end at its next call; a request that has ended stays as it is."""
        self._request_cancel()

    def done(self) -> bool:
        """Whether it has ended, however."""
        return self._is_done

    @property
    def error(self) -> BaseException | None:
        """What it ended by that is no result; None while it runs."""
        return self._error

    @property
    def progress(self) -> float:
        """Denoising steps done of all, 0 to 1."""
        return self._progress

    @property
    def metrics(self) -> dict[str, float]:
        """Seconds so far.

        `queued_s` until it started; `encode_s`, `denoise_s`, `decode_s` of the forwards that it took part in;
        `device_s` its share of all of these, by rows; `host_s` of its work in the thread pool.
        """
        with self._changed:
            return dict(self._metrics)

    @property
    def unsteady(self) -> tuple[str, ...]:
        """Modules whose reproducible calls ran alone, for on this device company changes their bits; none mostly."""
        with self._changed:
            return tuple(event.data["module"] for event in self._events if event.type == "unsteady")

    def doubt(self, module: str) -> None:
        """Tell once of a module whose reproducible calls run alone."""
        if module not in self.unsteady:
            self.emit("unsteady", module=module)

    def events(self) -> Iterator[Event]:
        """Everything that happened from the start, then what happens until the end; only the latest preview is kept."""
        last = 0
        while True:
            with self._changed:
                if self._seq == last:
                    self._check_may_wait()
                self._changed.wait_for(lambda seen=last: self._seq > seen)  # type: ignore[misc]
                fresh = [event for event in self._events if event.seq > last]
            for event in fresh:
                last = event.seq
                yield event
                if event.type in FINAL_EVENTS:
                    return

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call it with each event, in the thread where that happens: the engine's, so it must be quick.

        What has happened before is told at once. One that raises is told no more.
        """
        with self._changed:
            if all(_tell(listener, event) for event in self._events):
                self._told.append(listener)

    def checkpoint(self) -> Tape:
        """What `Engine.resume` goes on from, as far as it has come; an empty tape before its first step.

        Raises `Conflict` where it has ended, for its tape ends with it, or where its engine records none.
        """
        return self._make_tape()

    def keep_tape(self) -> None:
        """Have its tape outlive its success, for as long as this handle: resumed, it only decodes."""
        self._keeps_tape = True

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        self._check_may_wait()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            # A timed-out await has cancelled this future; the request goes on without it.
            if not ended.done():
                ended.set_result(None)

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop of a timed-out await may be closed by now
                loop.call_soon_threadsafe(end)

        self._when_done(wake)
        try:
            await ended
        finally:
            with self._changed, contextlib.suppress(ValueError):
                self._listeners.remove(wake)
        return self.result(0)

    def _check_may_wait(self) -> None:
        """A fiber that waits holds up every other one, and so does whoever calls from the engine's thread."""
        if not self._is_done and (fiber.current() is not None or self._is_engines()):
            raise Conflict("a callback or a listener in an engine's thread must not wait for a request: it never ends")

    def _when_done(self, listener: Callable[[], None]) -> None:
        with self._changed:
            if not self._is_done:
                self._listeners.append(listener)
                return
        listener()

    # The engine's side.

    def on_cancel(self, request_cancel: Callable[[], None]) -> None:
        """What `cancel` asks of the engine."""
        self._request_cancel = request_cancel

    def on_checkpoint(self, make_tape: Callable[[], Tape]) -> None:
        """What `checkpoint` asks of the engine."""
        self._make_tape = make_tape

    def continue_from(self, progress: float) -> None:
        """It is resumed: so much was done before, and is not told again."""
        self._progress = progress

    def emit(self, kind: str, **data: Any) -> None:
        """Tell what happened; steps also move `progress`."""
        with self._changed:
            event = self._append(kind, data)
            told = list(self._told)
            self._changed.notify_all()
        failed = [listener for listener in told if not _tell(listener, event)]
        if failed:
            with self._changed:
                self._told = [listener for listener in self._told if listener not in failed]

    def charge(self, **seconds: float) -> None:
        """Add to its `metrics`."""
        with self._changed:
            for name, spent in seconds.items():
                self._metrics[name] += spent

    def finish(self, kind: str, *, result: Any = None, error: BaseException | None = None) -> None:
        """End it, once."""
        with self._changed:
            assert not self._is_done
            self._result, self._error, self._is_done = result, error, True
            event = self._append(kind, {"error": str(error)} if error is not None else {})
            listeners, self._listeners = self._listeners, []
            told, self._told = self._told, []
            self._request_cancel = lambda: None  # it holds the request, and with it inputs and views
            if not (self._keeps_tape and error is None):
                self._make_tape = _ended
            self._changed.notify_all()
        for tell in told:
            _tell(tell, event)
        for listener in listeners:
            listener()

    def _append(self, kind: str, data: dict[str, Any]) -> Event:
        self._seq += 1
        self._progress = data.get("progress", self._progress)
        if kind == "preview":
            self._events = [event for event in self._events if event.type != "preview"]
        event = Event(self._seq, time.time(), kind, data)
        self._events.append(event)
        return event


def _ended() -> Tape:
    raise Conflict("the request has ended: there is nothing to resume")


def _tell(listener: Callable[[Event], None], event: Event) -> bool:
    """Whether the listener took it; its fault must end neither its request nor everybody's."""
    try:
        listener(event)
    except Exception:  # budget: whatever a listener raises
        log.exception("a listener of a request failed and is told no more")
        return False
    return True

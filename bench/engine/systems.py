"""What the engine is held against in open loop, each with one thread that runs images: submit, then collect the times.

Times are seconds since the epoch, as the engine's own events have them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

from darkroom.engine.engine import Engine
from darkroom.engine.handle import Handle

from .model import Model, submit
from .workload import Request


class System(Protocol):
    """Takes requests as they come, from one thread."""

    def submit(self, request: Request) -> None: ...

    def finish(self) -> dict[int, float]:
        """Wait for all; request number -> when its image was there."""
        ...


class Served:
    """Our engine; it stays open, so that runs share what it has learned."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._handles: dict[int, Handle] = {}

    def submit(self, request: Request) -> None:
        self._handles[request.number] = submit(self._engine, request)

    def finish(self) -> dict[int, float]:
        for handle in self._handles.values():
            handle.result()
        return {number: list(handle.events())[-1].at for number, handle in self._handles.items()}


class Windowed:
    """Equal requests in one plain call, at most `most`, the oldest waiting at most `window_s` for company.

    While a call runs, equal requests gather; a call that begins late has waited already and waits no more. With `most`
    1 this is plain diffusers, one image at a time, first come first served.
    """

    def __init__(self, model: Model, most: int = 4, window_s: float = 0.5) -> None:
        self._model, self._most, self._window_s = model, most, window_s
        self._waiting: list[tuple[float, Request]] = []
        self._done: dict[int, float] = {}
        self._is_ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def submit(self, request: Request) -> None:
        with self._changed:
            self._waiting.append((time.time(), request))
            self._changed.notify()

    def finish(self) -> dict[int, float]:
        """Nobody tells the batcher that no more will come: its window runs out as ever."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join()
        return self._done

    def _work(self) -> None:
        while batch := self._next():
            self._model.run_together(batch)
            self._done |= dict.fromkeys((request.number for request in batch), time.time())

    def _next(self) -> list[Request]:
        """The next call's requests; none when all is done."""
        with self._changed:
            while True:
                batch, wait_s = ripe(self._waiting, time.time(), self._most, self._window_s)
                if batch:
                    self._waiting = [(at, request) for at, request in self._waiting if request not in batch]
                    return batch
                if self._is_ending and not self._waiting:
                    return []
                self._changed.wait(wait_s)


def plain(model: Model) -> Windowed:
    """Plain diffusers behind a queue: one image at a time, first come first served."""
    return Windowed(model, most=1, window_s=0.0)


def ripe(
    waiting: Sequence[tuple[float, Request]], now: float, most: int, window_s: float
) -> tuple[list[Request], float | None]:
    """Requests to run now, oldest arrival first among full or overdue ones; else none and how long to wait."""
    for arrived, first in waiting:
        alike = [request for _, request in waiting if _kind(request) == _kind(first)][:most]
        if len(alike) == most or now - arrived >= window_s:
            return alike, None
    return [], max(0.0, waiting[0][0] + window_s - now) if waiting else None


def _kind(request: Request) -> tuple[str, int, float]:
    """What one plain call can hold only one of."""
    return request.solver, request.steps, request.guidance

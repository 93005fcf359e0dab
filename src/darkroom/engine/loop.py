"""The engine's thread: it sleeps, wakes and ends here; others leave what they ask for in its inbox."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import torch

from .. import errors
from .attempts import Attempts


class Loop:
    """Takes turns while there is something to do, in a thread of its own or in the one that calls `run`.

    `turn` is one tick. `on_fault` is told what ended the loop before its time, and `on_end` is called in any case.
    """

    def __init__(
        self,
        attempts: Attempts,
        turn: Callable[[], None],
        on_fault: Callable[[BaseException], None],
        on_end: Callable[[], None],
    ) -> None:
        self.is_closing = False
        self._attempts, self._turn, self._on_fault, self._on_end = attempts, turn, on_fault, on_end
        self._wakeup = threading.Condition()
        self._inbox: deque[Callable[[], None]] = deque()
        self._ident: int | None = None  # of the thread whose loop it is
        self._ended = threading.Event()

    @property
    def has_begun(self) -> bool:
        """Whether some thread is the engine's."""
        return self._ident is not None

    def is_own_thread(self) -> bool:
        """Whether the calling thread is the engine's."""
        return self._ident == threading.get_ident()

    def check_open(self, what: str) -> None:
        """Raise `EngineClosed` where it closes."""
        if self.is_closing:
            raise errors.EngineClosed(f"the engine is closed and {what}")

    def ask(self, what: Callable[[], None], *, joining: Callable[[], None] | None = None) -> None:
        """Have the engine's thread do something at its next tick; the first asking starts the thread.

        With `joining` it is a new request: refused where the engine closes, else `joining` is called before any tick.
        """
        with self._wakeup:
            if joining is not None:
                self.check_open("takes no more requests")
                joining()
            self._inbox.append(what)
            if self._ident is None and not self.is_closing:
                thread = threading.Thread(target=self._go, name="darkroom-engine", daemon=True)
                thread.start()
                self._ident = thread.ident
            self._wakeup.notify()

    def run(self, started: Callable[[], None] | None = None) -> None:
        """Be the engine's thread until the engine is closed; `started` is called once nobody else can be it."""
        with self._wakeup:
            self.check_open("cannot run")
            if self._ident is not None:
                raise errors.Conflict("the engine runs already: call run() once, before anything is submitted")
            self._ident = threading.get_ident()
        self._go(started)

    def receive(self) -> None:
        """Do what was asked since the last turn."""
        for _ in range(len(self._inbox)):
            self._inbox.popleft()()

    def close(self, last: Callable[[], None] | None = None) -> bool:
        """End when all is done, `last` asked before; False where the loop never began.

        Waits for the end, unless it is called by the loop's own thread: a signal's handler, a request's callback.
        """
        with self._wakeup:
            self.is_closing = True
            if last is not None:
                self._inbox.append(last)
            self._wakeup.notify()
            ident = self._ident
        if ident is not None and not self.is_own_thread():
            self._ended.wait()
        return ident is not None

    def drop(self) -> None:
        """Take nothing more, and forget what was asked."""
        with self._wakeup:
            self.is_closing = True
            self._inbox.clear()

    def _go(self, started: Callable[[], None] | None = None) -> None:
        try:
            if started is not None:
                started()
            with torch.inference_mode(False), torch.no_grad():  # a caller's thread may be in any mode
                while self._wait_for_work():
                    self._turn()
        except BaseException as error:  # the thread's outermost loop: nobody may wait for ever on a dead engine
            self._on_fault(error)
            raise
        finally:
            try:
                self._on_end()
            finally:
                self._ended.set()

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do; False when closed and done."""
        attempts = self._attempts
        with self._wakeup:
            while not (self._inbox or attempts.waiting or attempts.replaying or attempts.can_admit()):
                attempts.check_conservation()
                if self.is_closing and not (attempts.running or attempts.queue):
                    return False
                deadline = attempts.next_deadline()
                self._wakeup.wait(None if deadline is None else max(0.001, deadline - time.monotonic()))
                if deadline is not None and time.monotonic() >= deadline:
                    break
        return True

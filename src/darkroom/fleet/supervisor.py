"""Keeps child processes alive: starts them, restarts the dead with back-off, stops them in order.

    starting --ends--> waiting (back-off) --> starting
        |---ends with 0, and may--> gone
        '---stop-----> stopping --ends or is killed--> gone

A child holds the reading end of a pipe whose writing end only its supervisor holds, so that it notices a supervisor
that was killed (`watch_parent`). POSIX.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_S = 60.0  # a child that lived so long starts its back-off anew
POLL_S = 0.05
STOP_MARGIN_S = 20.0  # beyond drain_s, before a worker that does not end is killed
PARENT_PIPE = "--parent-fd"


@dataclass
class Child:
    """One process to keep alive: `command` makes its arguments anew for each start, `ended` hears of each death.

    `may_end`: where it ends with 0, somebody asked it to, and it stays away. `is_last`: it stops after the others.
    """

    name: str
    command: Callable[[], Sequence[str]]
    ended: Callable[[int], None] = lambda code: None
    fds: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_s: float = 10.0
    may_end: bool = False
    is_last: bool = False
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    failures: int = 0
    started_at: float = 0.0
    retry_at: float = 0.0
    is_done: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Owns its children from `start` to `stop`; `say` hears one sentence about each thing that happens to them."""

    def __init__(self, children: Sequence[Child], say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self.children, self._say, self._clock = list(children), say, clock
        self._pipe = os.pipe()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start every child."""
        for child in self.children:
            self._launch(child)

    def run(self, look: Callable[[], None] = lambda: None) -> None:
        """Restart what dies until `ask_stop`; `look` is called at every turn."""
        while not self._stopping.wait(POLL_S):
            self.tend()
            look()

    def tend(self) -> None:
        """Note the deaths since the last time, and start what is due."""
        for child in self.children:
            self._tend(child)

    def ask_stop(self) -> None:
        """Have `run` return; safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """End the children, all at once, then those that are last: workers drain while the gateway tells of it."""
        for is_last in (False, True):
            self._end([child for child in self.children if child.is_last == is_last])
        for end in self._pipe:
            with contextlib.suppress(OSError):
                os.close(end)

    def _tend(self, child: Child) -> None:
        if child.is_alive or child.is_done:
            return
        if child.process is not None:
            self._note_death(child)
        if not child.is_done and self._clock() >= child.retry_at:
            self._launch(child)

    def _note_death(self, child: Child) -> None:
        assert child.process is not None
        code, child.process = child.process.returncode, None
        now = self._clock()
        child.failures = 0 if now - child.started_at >= STEADY_S else child.failures + 1
        pause = BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)]
        child.retry_at = now + pause
        child.is_done = child.may_end and code == 0
        what = "as it was asked to" if child.is_done else f"it starts again in {pause:g} s"
        self._say(f"{child.name} ended ({said_end(code)}); {what}")
        child.ended(code)

    def _launch(self, child: Child) -> None:
        child.starts, child.started_at = child.starts + 1, self._clock()
        fds = (self._pipe[0], *child.fds)
        arguments = [*child.command(), PARENT_PIPE, str(self._pipe[0])]
        # A session of its own: Ctrl-C reaches the supervisor alone, which stops the children in order.
        child.process = subprocess.Popen(
            arguments,
            pass_fds=fds,
            env={**os.environ, **child.environment},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )

    def _end(self, children: Sequence[Child]) -> None:
        """Ask them all, then wait for each: their times run side by side."""
        began = time.monotonic()
        for child in children:
            if child.process is not None:
                child.process.terminate()
        for child in children:
            self._wait_for(child, began + child.stop_s)

    def _wait_for(self, child: Child, until: float) -> None:
        process = child.process
        if process is None:
            return
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._say(f"{child.name} did not end within {child.stop_s:g} s and is killed")
            process.kill()
            process.wait()
        child.ended(process.returncode)


def watch_parent(fd: int) -> None:
    """Send this process SIGTERM when the supervisor at the other end of the pipe is gone."""

    def watch() -> None:
        while os.read(fd, 1):
            time.sleep(POLL_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="darkroom-parent", daemon=True).start()


def said_end(code: int) -> str:
    """How a process ended, for people."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

"""How those who wait hear of a commit at once: whoever commits touches the database's index file, and they watch it.

The index (`-shm`) is memory that the processes share under a file's name: nothing of it goes to the disk, and it lies
there for as long as anybody has the database open. Watching is Linux's inotify(7). Elsewhere they look at the clock.
A ring can be missed, where a process dies between its commit and the ring: so nobody waits for one longer than
`LONGEST_S` without looking for himself.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST_S = 0.1  # between two looks where rings are heard
POLL_S = 0.005  # and where they are not
KEPT_EARS = 4  # idle ones that are kept: to close one waits for the kernel
IN_ATTRIB = 0x4
EVENTS_BYTES = 4096


class Ear:
    """Hears a file being touched, from when it is made."""

    def __init__(self, path: Path) -> None:
        init, add_watch = _inotify()
        self._fd = init(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if add_watch(self._fd, os.fsencode(path), IN_ATTRIB) < 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wait(self, timeout_s: float) -> None:
        """Return at a touch since the last wait, or after `timeout_s`."""
        if self._poll.poll(max(1, round(timeout_s * 1000))):
            os.read(self._fd, EVENTS_BYTES)

    def close(self) -> None:
        """Hear no more."""
        os.close(self._fd)


class Bell:
    """Of one database file: rung after each commit, by whichever process."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-shm")
        self._idle: list[Ear] = []  # append and pop are atomic
        self._is_closed = False

    def ring(self) -> None:
        """Wake who waits."""
        with contextlib.suppress(OSError):  # it is gone with its database: there is nobody to wake
            os.utime(self._path)

    @contextmanager
    def hearing(self) -> Iterator[Callable[[float], None]]:
        """What waits for a ring, or for so many seconds at the most; rings since it last waited count."""
        ear = self._borrow()
        if ear is None:
            yield lambda timeout_s: time.sleep(min(POLL_S, timeout_s))
            return
        try:
            yield lambda timeout_s: ear.wait(min(LONGEST_S, timeout_s))
        finally:
            self._give_back(ear)

    def close(self) -> None:
        """Let go of what nobody waits on."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _borrow(self) -> Ear | None:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return Ear(self._path)
        except OSError:  # another system, or too many watches in this one
            return None

    def _give_back(self, ear: Ear) -> None:
        if self._is_closed or len(self._idle) >= KEPT_EARS:
            ear.close()
        else:
            self._idle.append(ear)


@functools.cache
def _inotify() -> tuple[Any, Any]:
    """The C library's two functions; raises OSError where it has none."""
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if not hasattr(library, "inotify_init1"):
        raise OSError("no inotify here")
    return library.inotify_init1, library.inotify_add_watch  # type: ignore[union-attr]

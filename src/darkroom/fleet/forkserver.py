"""Forks workers from a process that has already imported what they need: they are ready in a second or two, not in ten.

    driver --a line of JSON: name, arguments, environment--> fork-server --fork--> worker
           <--a line of JSON: name, process id--------------

The fork-server has one thread. It computes nothing, and opens nothing that two processes must not share: no device, no
store, no storage. Both ends of the socket are here: `ForkServer` is the driver's, `serve_forks` the server's. POSIX.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from ..errors import DriverUnavailable, InvariantBroken
from .supervisor import said_end

log = logging.getLogger(__name__)

SOCKET_FD = "--fd"
LOOK_S = 0.5  # between two looks at who has ended
END_S = 5.0  # for a fork-server that has nobody to serve any more
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Asked:
    """A process to fork: what its command line would say, and what it finds in its environment beside the server's."""

    name: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def serve_forks(fd: int) -> Asked | None:
    """Fork a process for each request at the socket `fd`; returns in each of them, with what it is to do.

    In the fork-server itself it returns None, once the other end is gone. Its processes live on then.
    """
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise InvariantBroken(f"a process with threads cannot be forked safely; they are: {names}")
    gc.collect()
    gc.freeze()  # the collector of a forked process writes to none of these pages: they stay shared
    pids: dict[int, str] = {}
    with socket.socket(fileno=fd) as peer:
        for asked in _requests(peer):
            _reap(pids)
            if asked is None:
                continue
            pid = _fork()
            if pid == 0:
                peer.close()
                _settle(asked)
                return asked
            pids[pid] = asked.name
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it reads the end of the socket next
                peer.sendall(_line({"name": asked.name, "pid": pid}))
    _reap(pids)
    return None


class ForkServer:
    """The driver's end: starts a fork-server and asks it for processes. `fds` are open in the processes too."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], fds: Sequence[int] = ()) -> None:
        self._socket, theirs = socket.socketpair()
        self._rest = b""
        self._is_prepared = False
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*command, SOCKET_FD, str(theirs.fileno())],
                    pass_fds=(theirs.fileno(), *fds),
                    env={**os.environ, **environment},
                    start_new_session=True,  # Ctrl-C reaches the driver alone
                    stdin=subprocess.DEVNULL,
                )
            except OSError as error:
                self._socket.close()
                raise DriverUnavailable(f"{command[0]} cannot be started: {error.strerror}", field="fleet") from error
        self._socket.setblocking(False)

    def ask(self, asked: Asked) -> None:
        """Have a process forked, as soon as the server is prepared; raises `DriverUnavailable` where it has ended."""
        try:
            self._socket.sendall(_line(asdict(asked)))
        except OSError as error:
            raise self._ended() from error

    def answers(self) -> dict[str, int]:
        """Process ids by name, of those forked since the last time; raises `DriverUnavailable` where it has ended."""
        came, is_over = self._read()
        if is_over and not came:
            raise self._ended()
        return came

    def close(self) -> dict[str, int]:
        """End it; returns the answers that nobody has read. What it forked lives on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if not self._is_prepared:  # it imports, and reads nothing meanwhile
            self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        came, _ = self._read()
        self._socket.close()
        return came

    def _read(self) -> tuple[dict[str, int], bool]:
        """What has come, and whether nothing more will."""
        is_over = False
        while True:
            try:
                got = self._socket.recv(CHUNK_BYTES)
            except BlockingIOError:
                break
            except OSError:
                got = b""
            if not got:
                is_over = True
                break
            self._rest += got
            self._is_prepared = True
        *lines, self._rest = self._rest.split(b"\n")
        return {said["name"]: int(said["pid"]) for said in map(json.loads, lines)}, is_over

    def _ended(self) -> DriverUnavailable:
        try:
            how = said_end(self._process.wait(END_S))
        except subprocess.TimeoutExpired:
            how = "it answers no more"
        return DriverUnavailable(f"the process that workers are forked from has ended ({how}); its log says why")


def _requests(peer: socket.socket) -> Iterator[Asked | None]:
    """What is asked for, and None now and then."""
    rest = b""
    while True:
        if not select.select([peer], [], [], LOOK_S)[0]:
            yield None
            continue
        try:
            got = peer.recv(CHUNK_BYTES)
        except ConnectionResetError:
            return
        if not got:
            return
        *lines, rest = (rest + got).split(b"\n")
        yield from (Asked(**json.loads(line)) for line in lines)


def _line(said: Mapping[str, object]) -> bytes:
    return json.dumps(said).encode() + b"\n"


def _fork() -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or what is buffered is written twice
    return os.fork()


def _settle(asked: Asked) -> None:
    """Become a process as if it had been started by its driver."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.environ.update(asked.environment)


def _reap(pids: dict[int, str]) -> None:
    """Note who has ended, and let the system forget them."""
    while pids:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code, name = os.waitstatus_to_exitcode(status), pids.pop(pid, "")
        log.log(logging.WARNING if code else logging.INFO, "%s ended (%s)", name or pid, said_end(code))

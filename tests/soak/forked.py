"""`darkroom serve` and its children, forked from a process that has imported everything already.

Importing torch and diffusers takes ten seconds of a core, which a soak would spend at each of its thousand kills. What
is forked is the same program with the same arguments, signals, pipes and files, in a process of its own that opens
everything anew; only the interpreter's start is left out. The process that forks has no threads, no store and has run
no tensor, for none of these survives a fork. Linux.

    who wants a process --arguments, environment, open files--> Mother --fork--> darkroom ARGUMENTS
                        <------------- its pid; its exit code ---'
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, TextIO

import psutil

from darkroom import cli
from darkroom.fleet import supervisor

from ..integration.service import Service, wait_until

IMPORTED = (
    "darkroom.app",
    "darkroom.gateway.app",
    "darkroom.gateway.server",
    "darkroom.jobs.redis",
    "darkroom.jobs.sqlite",
    "darkroom.telemetry.metrics",
    "darkroom.telemetry.worker",
    "darkroom.worker.main",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "uvloop",
)
LARGEST = 2**18  # bytes of a request
MOST_FDS = 16
FREE_FDS = 500  # from here on nobody's
POLL_S = 0.02


class Mother:
    """Forks processes for whoever knows `path`, until it is closed. Make it before there are threads."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "mother"
        for name in IMPORTED:
            importlib.import_module(name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.path))
        listener.listen(64)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _bear(listener, self.path)
            finally:
                os._exit(1)
        listener.close()

    def __enter__(self) -> Mother:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._folder.cleanup()


class Forked:
    """One process, as `subprocess.Popen` would show it."""

    path: Path  # of the mother

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        pass_fds: Sequence[int] = (),
        stderr: int = 2,
        cwd: Path | None = None,
        **_: Any,
    ) -> None:
        wish = {"arguments": [*arguments], "env": {**env}, "cwd": str(cwd or Path.cwd()), "fds": [2, *pass_fds]}
        self.pid: int = self._ask(wish, [stderr, *pass_fds])
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, once it has one."""
        if self.returncode is None:
            self.returncode = self._ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; raises `subprocess.TimeoutExpired`."""
        end = time.monotonic() + (timeout if timeout is not None else 1e9)
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("darkroom", timeout or 0.0)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """To the living alone."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ask(self, wish: Mapping[str, Any], fds: Sequence[int] = ()) -> Any:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
            line.connect(str(self.path))
            socket.send_fds(line, [json.dumps(wish).encode()], fds)
            return json.loads(line.recv(LARGEST))


class ForkedService(Service):
    """A service whose processes a mother bears."""

    def __init__(self, home: Path, environment: Mapping[str, str], arguments: tuple[str, ...], mother: Mother) -> None:
        Forked.path, self._mother = mother.path, mother
        super().__init__(home, environment, arguments)

    def start(self, port: str = "0") -> None:
        """As that of a service."""
        environment = {**os.environ, "DARKROOM_HOME": str(self.home), **self._environment}
        command = [sys.executable, "-m", "darkroom", "serve", "--port", port, *self._arguments]
        self.url = ""
        reader, writer = os.pipe()
        self.process = Forked(command, env=environment, stderr=writer, cwd=self.home)  # type: ignore[assignment]
        os.close(writer)
        threading.Thread(target=self._hear, args=(os.fdopen(reader),), daemon=True).start()
        wait_until(lambda: self.url != "" or self.process.poll() is not None)
        assert self.url, "".join(self.said)

    def _hear(self, stream: TextIO) -> None:
        self._listen(SimpleNamespace(stderr=stream))  # type: ignore[arg-type]

    def processes(self, kind: str) -> list[psutil.Process]:
        """The living that run as `darkroom KIND`; those of a supervisor that was killed are gone before the next."""
        found = []
        for child in psutil.Process(self._mother.pid).children():
            with suppress(psutil.NoSuchProcess):
                if child.name().startswith(kind) and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found


# In the mother and what she bears.


def _bear(listener: socket.socket, path: Path) -> None:
    """Her life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Forked.path = path
    said = {"Popen": Forked, "DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
    supervisor.subprocess = SimpleNamespace(**said)  # type: ignore[assignment, attr-defined]
    gc.freeze()
    codes: dict[int, int] = {}
    while True:
        line, _ = listener.accept()
        with line, suppress(OSError):  # who asked may have been killed meanwhile
            data, fds, _, _ = socket.recv_fds(line, LARGEST, MOST_FDS)
            answer = _answer(json.loads(data or "{}"), fds, codes)
            for fd in fds:
                os.close(fd)
            line.send(json.dumps(answer).encode())


def _answer(wish: Mapping[str, Any], fds: Sequence[int], codes: dict[int, int]) -> int | None:
    if "pid" in wish:
        return _code(wish["pid"], codes)
    if not wish:
        return None
    pid = _fork(wish, fds)
    codes.pop(pid, None)  # of one that had this number before
    return pid


def _code(pid: int, codes: dict[int, int]) -> int | None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return codes.get(pid)


def _fork(wish: Mapping[str, Any], fds: Sequence[int]) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _settle(wish, fds)
            code = cli.run(wish["arguments"][3:])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def _settle(wish: Mapping[str, Any], fds: Sequence[int]) -> None:
    """As if it had been started: files, signals, environment, name."""
    os.setsid()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, FREE_FDS) for fd in fds]
    os.closerange(3, FREE_FDS)
    for fd, number in zip(high, wish["fds"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(wish["cwd"])
    os.environ.clear()
    os.environ.update(wish["env"])
    sys.argv = [*wish["arguments"][2:]]
    Path("/proc/self/comm").write_text(shown_as(wish["arguments"][3:]))


def shown_as(arguments: Sequence[str]) -> str:
    """The name of a process, 15 characters at most: its kind, and the end of its id if it has one."""
    kind = arguments[0]
    return f"{kind}:{arguments[arguments.index('--id') + 1][-8:]}"[:15] if "--id" in arguments else kind

"""Servers as processes that end with all that they started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

END_S = 30.0  # a server that still owes answers would wait for whoever left
LOG_LINES = 6


@contextmanager
def running(command: Sequence[str], folder: Path, around: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Such a process in a folder, where its log lies as `log`; afterwards neither it nor a child of it is left."""
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **around}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield started
    finally:
        _end(started)


def last_words(folder: Path) -> str:
    """The end of its log."""
    lines = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in lines[-LOG_LINES:])


def _end(started: subprocess.Popen[bytes]) -> None:
    """First the parent, which ends its own in good order; then whoever of them is left."""
    try:
        family = psutil.Process(started.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    started.terminate()
    try:
        started.wait(END_S)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    with suppress(ProcessLookupError):  # its session, of those too whose parents have ended
        os.killpg(started.pid, signal.SIGKILL)
    for each in psutil.wait_procs(family, timeout=2)[1]:  # and who began a session of their own
        with suppress(psutil.NoSuchProcess):
            each.kill()

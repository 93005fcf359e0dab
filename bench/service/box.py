"""Processes under measurement: a whole service, or a gateway alone, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = str(Path(__file__).resolve().parent.parent.parent)
WAIT_S = 180.0
SETTINGS = "[serve]\nmax_queued = 1000000\nlog_format = 'json'\n"


@contextmanager
def folder() -> Iterator[Path]:
    """A home with the settings of measurements."""
    with tempfile.TemporaryDirectory() as name:
        Path(name, "darkroom.toml").write_text(SETTINGS, encoding="utf-8")
        yield Path(name)


@contextmanager
def process(command: Sequence[str], home: Path, threads: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended afterwards; it gets SIGTERM, so that what it supervises ends too."""
    around = {"DARKROOM_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE", "DARKROOM_THREADS": str(threads)}
    with (home / "log").open("ab") as log:
        started = subprocess.Popen(
            command, cwd=home, env={**os.environ, **around, **environment}, stdout=log, stderr=log
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()


def darkroom(*arguments: str) -> list[str]:
    """A command line of ours."""
    return [sys.executable, "-m", "darkroom", *arguments]


@contextmanager
def service(home: Path, threads: int, **environment: str) -> Iterator[str]:
    """`darkroom serve`, ready; its URL."""
    port = free_port()
    with process(darkroom("serve", "--port", str(port)), home, threads, **environment):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/readyz"))
        yield url


@contextmanager
def gateway(home: Path, **environment: str) -> Iterator[int]:
    """`darkroom gateway` without workers; its port."""
    port = free_port()
    with process(darkroom("gateway", "--port", str(port)), home, 1, **environment):
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield port


@contextmanager
def redis() -> Iterator[str | None]:
    """A Redis with an append-only file, synced each second as it comes; its URL, or None where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        flags = ("--port", str(port), "--bind", "127.0.0.1", "--dir", name, "--appendonly", "yes", "--save", "")
        with process([program, *flags], Path(name), 1):
            wait_until(lambda: is_open(port))
            yield f"redis://127.0.0.1:{port}/0"


def answers(url: str) -> bool:
    """Whether it says 200."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """One that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_so: Callable[[], bool], pause_s: float = 0.02) -> float:
    """Seconds until it was so."""
    began = time.perf_counter()
    while not is_so():
        if time.perf_counter() - began > WAIT_S:
            raise TimeoutError(f"not within {WAIT_S:g} s")
        time.sleep(pause_s)
    return time.perf_counter() - began

"""Every store, real: SQLite in a temporary folder, Redis as one server a session on a free loopback port.

A test that takes `store` runs once on each. `another` opens a further handle on the same store, as another process has.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits, Store
from tests.missing import skip_or_fail

BACKENDS = ("sqlite", "redis")
LIMITS = Limits(lease_s=30.0, idempotency_s=24 * 3600.0)
START_S = 60.0  # a slow machine is waited for; a server that does not start is a fault


def redis_missing() -> str | None:
    """Why Redis cannot be tested here, or None."""
    if importlib.util.find_spec("redis") is None:
        return "the redis package is not installed"
    if importlib.util.find_spec("darkroom.jobs.redis") is None:
        return "darkroom.jobs.redis is not there"
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return None


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answers(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return when the server answers."""
    import redis

    until = time.monotonic() + START_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                assert server.poll() is None, "redis-server ended at its start"
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.02)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server with an append-only file, ended with the session."""
    reason = redis_missing()
    if reason is not None:
        skip_or_fail(reason)
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "everysec", "--logfile", str(folder / "log")]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        wait_until_answers(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(START_S)


@pytest.fixture(params=BACKENDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    url: str = request.getfixturevalue("redis_server")
    empty_redis(url)
    return url


def empty_redis(url: str) -> None:
    """Forget all that the server holds."""
    import redis

    with redis.Redis.from_url(url) as client:
        client.flushall()


@pytest.fixture
def another(store_url: str) -> Iterator[Callable[[], Store]]:
    """Opens further handles on the store, and closes them with the test."""
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_store(store_url, LIMITS))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture
def store(another: Callable[[], Store]) -> Store:
    """An empty store."""
    return another()

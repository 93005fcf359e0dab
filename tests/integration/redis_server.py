"""A real Redis on loopback that can be killed and started again over the same files."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis

from tests.missing import need

from .service import free_port


class RedisServer:
    """One server with an append-only file in `folder`, fsync at every write."""

    def __init__(self, folder: Path, fsync: str = "always") -> None:
        self.folder, self.fsync, self.port = folder, fsync, free_port()
        self._program = need("redis-server")
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it over what lies in its folder; returns when it answers."""
        flags = {
            "--port": str(self.port),
            "--bind": "127.0.0.1",
            "--dir": str(self.folder),
            "--appendonly": "yes",
            "--appendfsync": self.fsync,
            "--save": "",
        }
        command = [self._program, *(text for pair in flags.items() for text in pair)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 60
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.BusyLoadingError):
                    assert time.monotonic() < end, "redis does not answer"
                    time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

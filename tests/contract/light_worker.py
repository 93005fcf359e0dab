"""What stands for the worker program where a driver is tested: it heeds signals, tells the store, and loads no model.

`python -m tests.contract.light_worker HOLD --fd N` is a fork-server of such workers. One ends on SIGTERM, but not
while the file HOLD is there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from darkroom.core import WorkerReport
from darkroom.fleet.forkserver import SOCKET_FD, serve_forks
from darkroom.fleet.supervisor import PARENT_PIPE, watch_parent
from darkroom.jobs.opening import open_store


def main(arguments: list[str]) -> None:
    """Fork, and in what was forked, work."""
    asked = serve_forks(int(said(arguments, SOCKET_FD)))
    if asked is not None:
        work(asked.arguments, Path(arguments[0]))


def work(arguments: list[str], hold: Path) -> None:
    """A worker's life."""
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    watch_parent(int(said(arguments, PARENT_PIPE)))
    store = open_store(said(arguments, "--store"))
    name = said(arguments, "--id")
    facts = {"pid": os.getpid(), "session": os.getsid(0), "environment": dict(os.environ)}
    store.heartbeat(WorkerReport(name, "ready", time.time(), facts=facts), [], time.time())
    asked_to_end.wait()
    store.heartbeat(WorkerReport(name, "draining", time.time(), facts=facts), [], time.time())
    while hold.exists():
        time.sleep(0.02)
    store.close()


def said(arguments: list[str], flag: str) -> str:
    """What follows a flag."""
    return arguments[arguments.index(flag) + 1]


if __name__ == "__main__":
    main(sys.argv[1:])

"""What runs on the nodes of a Ray cluster: an actor that keeps one worker process.

The process is no child of the actor: Ray kills the children of an actor that ends, and a worker is to drain. Two pipes
join them: the worker drains when the first closes, the actor ends when the second does. POSIX.

    actor ──────holds the writing end────── worker --parent-fd    closes: the actor is gone, or asks it to drain
          ────waits at the reading end───── worker                closes: the worker is gone
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..supervisor import PARENT_PIPE

CONFIG_FILE = "DARKROOM_CONFIG"
ORPHAN = ("/bin/sh", "-c", '"$@" >&2 & echo $!', "sh")  # starts a program, says its process id, and ends before it


@dataclass(frozen=True)
class ActorName:
    """Pool, worker and when it was asked for: a driver that starts anew reads them from the actor's name."""

    pool: str
    worker: str
    since: float

    def __str__(self) -> str:
        return f"{self.pool}:{self.worker}:{self.since:.3f}"

    @classmethod
    def read(cls, said: str) -> ActorName:
        """The parts of what `str` made."""
        pool, worker, since = said.rsplit(":", 2)
        return cls(pool, worker, float(since))


class RayWorker:
    """Starts `arguments` of this node's Python when it is made; they are followed by the worker's `--parent-fd`.

    One that has not drained after `stop_s` is killed. `end` is called when it is gone.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stop_s: float,
        end: Callable[[], None] | None = None,
    ) -> None:
        self._is_leaving, self._stop_s, self._end = False, stop_s, end or end_actor
        parent, self._holds = os.pipe()
        self._ended, ended = os.pipe()
        command = [*ORPHAN, sys.executable, *arguments, PARENT_PIPE, str(parent)]
        started = subprocess.run(
            command,
            pass_fds=(parent, ended),
            env=_on_this_node({**os.environ, **environment}),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
        self._pid = int(started.stdout)
        os.close(parent)
        os.close(ended)
        threading.Thread(target=self._wait, name="darkroom-worker", daemon=True).start()

    def is_leaving(self) -> bool:
        """Whether it was asked to drain."""
        return self._is_leaving

    def drain(self) -> None:
        """Ask the worker to; the actor ends after it."""
        if not self._is_leaving:
            self._is_leaving = True
            os.close(self._holds)
            late = threading.Timer(self._stop_s, self._kill)
            late.daemon = True
            late.start()

    def _kill(self) -> None:
        """It still holds its pipe, or this actor would be gone: the process id is nobody else's."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def _wait(self) -> None:
        os.read(self._ended, 1)
        self._end()


def end_actor() -> None:
    """End the actor that this process is."""
    import ray

    ray.kill(ray.get_runtime_context().current_actor)


def _on_this_node(environment: dict[str, str]) -> dict[str, str]:
    """Without the fleet's darkroom.toml where this node has no such file."""
    config = environment.get(CONFIG_FILE)
    if config is not None and not os.path.exists(config):
        print(f"{config} is not on this node: its worker goes by its environment", file=sys.stderr)  # noqa: T201
        del environment[CONFIG_FILE]
    return environment

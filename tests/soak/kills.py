"""Who is killed when: a worker, the gateway, the supervisor or Redis, at random moments of work that goes on.

A worker takes seconds to load its model. Kills that came faster would only ever meet workers that load, so one of a
worker or of the supervisor waits, with a bound, until a living worker has jobs running; and every other time until a
job has ended since the last of them, or none ever would.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import psutil

from ..integration.redis_server import RedisServer
from ..integration.service import IS_TLS, Service, wait_until
from .load import Load

PAUSE_S = 0.4  # on average, before a kill: anywhere in a claim, a step, an upload
BUSY_S = 300.0  # longer than any pause of a supervisor, and than a load on a busy machine
ENDING = 0.5  # of the kills of workers and supervisors wait for a job's end
LOOK_S = 0.15
ID = 8  # characters at the end of a worker's id that are its life's alone
ANSWER_S = 2.0  # a gateway that was killed answers nobody: then it is not known who works
OUTAGES_S = (0.1, 0.5, 4.0)  # of Redis; the last is longer than a lease


@dataclass
class Batter:
    """Kills processes of `service` and counts them: all by kind, and of workers those that had jobs running."""

    service: Service
    redis: RedisServer | None
    rng: random.Random
    load: Load
    killed: Counter[str] = field(default_factory=Counter)
    at_work: int = 0
    _lived: int = 0  # kills of children since the supervisor started
    _ended: int = 0  # jobs, when a worker was killed last

    def run(self, kills: int) -> None:
        """Kill until there were so many."""
        ways = {
            "worker": self._kill_worker,
            "gateway": self._kill_gateway,
            "supervisor": self._kill_supervisor,
            "redis": self._kill_redis,
        }
        while self.killed.total() < kills:
            kind = self._draw()
            if kind in ("worker", "supervisor"):
                self._wait_for_work()
            time.sleep(self.rng.expovariate(1 / PAUSE_S))
            self.killed[kind] += ways[kind]()

    def _draw(self) -> str:
        """The longer a supervisor lives, the longer it waits before it restarts a child; so its turn comes nearer."""
        weights = {"worker": 6, "gateway": 3, "supervisor": self._lived}
        if self.redis is not None:
            weights["redis"] = 2
        return self.rng.choices([*weights], [*weights.values()])[0]

    def _wait_for_work(self) -> None:
        is_patient = self.rng.random() < ENDING
        wait_for(lambda: (self.load.ended > self._ended or not is_patient) and bool(self._busy()), BUSY_S)
        self._ended = self.load.ended

    def _busy(self) -> list[psutil.Process]:
        """The living workers that have jobs running; none where nobody says."""
        try:
            url = f"{self.service.url}/v1/jobs"
            answer = httpx.get(url, params={"state": "running"}, timeout=ANSWER_S, verify=IS_TLS)
        except httpx.TransportError:
            return []
        names = {job["worker"][-ID:] for job in answer.json()["data"]} if answer.status_code == 200 else set()
        return [worker for worker in self.service.processes("worker") if known_by(worker) in names]

    def _kill_worker(self) -> bool:
        busy = self._busy()
        found = busy or self.service.processes("worker")
        was_killed = self._kill_one(found)
        self.at_work += was_killed and bool(busy)
        return was_killed

    def _kill_gateway(self) -> bool:
        return self._kill_one(self.service.processes("gateway"))

    def _kill_one(self, found: list[psutil.Process]) -> bool:
        if not found:
            return False
        try:
            self.rng.choice(found).kill()
        except psutil.NoSuchProcess:
            return False
        self._lived += 1
        return True

    def _kill_supervisor(self) -> bool:
        """Its children notice and end; then somebody starts it again."""
        children = self.service.processes("gateway") + self.service.processes("worker")
        port = self.service.port
        self.service.process.kill()
        self.service.process.wait()
        wait_until(lambda: all(has_ended(child) for child in children))
        self.service.start(port)
        self._lived = 0
        return True

    def _kill_redis(self) -> bool:
        assert self.redis is not None
        self.redis.kill()
        time.sleep(self.rng.choice(OUTAGES_S))
        self.redis.start()
        return True


def known_by(worker: psutil.Process) -> str:
    """The end of its id, from its arguments or from its name (`forked.shown_as`); nothing once it is gone."""
    try:
        arguments = worker.cmdline()
        return (arguments[arguments.index("--id") + 1] if "--id" in arguments else worker.name())[-ID:]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def has_ended(process: psutil.Process) -> bool:
    """Whether nothing of it runs."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(is_so: Callable[[], bool], patience_s: float) -> None:
    """Until it is so, or so long."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end and not is_so():
        time.sleep(LOOK_S)

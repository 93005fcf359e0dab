"""`python -m tests.soak`: runs of random kills under load, each on a fresh service; resumable, one record a run.

A run submits jobs all the while, kills a worker, the gateway, the supervisor or Redis at random moments, and at the end
waits for every accepted job: each must have succeeded once, with its picture. Runs alternate between SQLite and Redis;
each fifth uses the bundled model, the others one that is as small as a diffusers pipeline gets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..integration.redis_server import RedisServer
from ..integration.service import QUICK, Service, check_each_ended_once, served, wait_until
from .tiny import save_tiny

SETTINGS = "lease_s = 2.0\nheartbeat_s = 0.4\nmax_attempts = 100\nmax_queued = 5000\ndrain_s = 1.0\nretry_s = 0.2\n"
IN_FLIGHT = 12
BUNDLED_EVERY = 5
PATIENCE_S = 900.0


@dataclass
class Load:
    """Jobs submitted all the while, so that about `IN_FLIGHT` are under way; what goes wrong is raised at the end."""

    service: Service
    inputs: dict[str, Any]
    ids: list[str] = field(default_factory=list)
    ended: int = 0

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._keep_going)

    def _keep_going(self) -> None:
        try:
            self._run()
        except BaseException as error:  # else the run would pass on the jobs that there were until then
            self._fault = error

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            if len(self.ids) - self.ended < IN_FLIGHT:
                self.ids.append(self.service.submit(f"key-{len(self.ids)}", **self.inputs, seed=len(self.ids)))
            else:
                self.ended += sum(self.service.job(i)["state"] == "succeeded" for i in self.ids[self.ended :][:1])

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._fault is not None:
            raise self._fault


def main() -> int:
    """Do the runs that are not on record yet; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50, help="in each run")
    parser.add_argument("--record", type=Path, default=Path("~/.cache/darkroom/soak.json").expanduser())
    asked = parser.parse_args()
    records = json.loads(asked.record.read_text()) if asked.record.exists() else []
    for number in range(len(records), asked.runs):
        records.append(run(number, asked.kills))
        asked.record.parent.mkdir(parents=True, exist_ok=True)
        asked.record.write_text(json.dumps(records, indent=1))
        print(json.dumps(records[-1]), flush=True)
    kills = sum(sum(record["kills"].values()) for record in records)
    bundled = sum(sum(record["kills"].values()) for record in records if record["model"] == "landscapes")
    jobs = sum(record["jobs"] for record in records)
    print(f"{len(records)} runs, {kills} kills ({bundled} with the bundled model), {jobs} jobs, each ended once")
    return 0


def run(number: int, kills: int) -> dict[str, Any]:
    """One run; raises where a job was lost, doubled or failed."""
    rng, began = random.Random(number), time.monotonic()
    model = "landscapes" if number % BUNDLED_EVERY == 0 else "tiny"
    store = "redis" if number % 2 else "sqlite"
    with tempfile.TemporaryDirectory() as folder, redis_if(store == "redis") as redis:
        home = Path(folder)
        write_settings(home, model)
        environment = {"DARKROOM_STORE": redis.url} if redis else {}
        with served(home, "--model", model, **environment) as service:
            inputs = {"num_inference_steps": 2, **({} if model == "landscapes" else {"width": 64, "height": 64})}
            with Load(service, inputs) as load:
                killed = batter(service, redis, rng, kills)
            jobs = service.wait_all(load.ids, PATIENCE_S)
            assert len(jobs) >= min(kills, IN_FLIGHT), f"{len(jobs)} jobs for {kills} kills are no load"
            size = (inputs["width"], inputs["height"]) if "width" in inputs else (QUICK["width"], QUICK["height"])
            check_each_ended_once(service, load.ids, jobs, size, every=1)
            check_stored(jobs, home)
    return {
        "run": number,
        "model": model,
        "store": store,
        "jobs": len(jobs),
        "kills": killed,
        "attempts": sum(job["attempt"] for job in jobs),
        "seconds": round(time.monotonic() - began, 1),
    }


def batter(service: Service, redis: RedisServer | None, rng: random.Random, kills: int) -> dict[str, int]:
    """So many kills, each after a random pause, of something that was alive."""
    ways: dict[str, Callable[[], bool]] = {
        "worker": lambda: kill_child(service, "worker"),
        "gateway": lambda: kill_child(service, "gateway"),
        "supervisor": lambda: kill_supervisor(service),
    }
    if redis is not None:
        ways["redis"] = lambda: kill_redis(redis, rng)
    killed: Counter[str] = Counter()
    while sum(killed.values()) < kills:
        time.sleep(rng.expovariate(1 / 1.5))
        way = rng.choices([*ways], [6, 3, 1, 2][: len(ways)])[0]
        killed[way] += ways[way]()
    return dict(killed)


def kill_child(service: Service, kind: str) -> bool:
    """Whether there was one to kill."""
    is_there = bool(service.processes(kind))
    service.kill(kind)
    return is_there


def kill_supervisor(service: Service) -> bool:
    """Its children notice; then somebody starts it again."""
    children = service.processes("gateway") + service.processes("worker")
    port = service.port
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    service.start(port)
    return True


def kill_redis(redis: RedisServer, rng: random.Random) -> bool:
    """For less or more than a lease."""
    redis.kill()
    time.sleep(rng.choice((0.1, 0.5, 3.0)))
    redis.start()
    return True


def check_stored(jobs: list[dict[str, Any]], home: Path) -> None:
    """The picture of each lies there."""
    stored = {path.parent.name for path in (home / "artifacts" / "outputs").rglob("*.png")}
    missing = {job["id"] for job in jobs} - stored
    assert not missing, missing


def write_settings(home: Path, model: str) -> None:
    """darkroom.toml, and the tiny model where it is used."""
    text = f"[serve]\n{SETTINGS}"
    if model == "tiny":
        save_tiny(home / "tiny")
        text += '[models.tiny]\npath = "tiny"\nsizes = [[64, 64]]\ndefault_size = [64, 64]\n'
    (home / "darkroom.toml").write_text(text)


@contextmanager
def redis_if(is_wanted: bool) -> Iterator[RedisServer | None]:
    """A Redis of the run's own."""
    if not is_wanted:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        try:
            yield server
        finally:
            server.kill()


if __name__ == "__main__":
    os.environ.setdefault("CI", "true")  # a missing part is no reason to pass
    sys.exit(main())

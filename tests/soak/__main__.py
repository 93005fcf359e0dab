"""`python -m tests.soak`: runs of random kills under load, each on a fresh service; resumable, one record a run.

A run submits jobs all the while, kills a worker, the gateway, the supervisor or Redis at random moments, and at the end
waits for every accepted job: each must have succeeded once, with its picture. Runs alternate between SQLite and Redis;
each fifth uses the bundled model, the others one that is as small as a diffusers pipeline gets. Each tenth starts its
processes as an operator does; the others fork them (`forked.py`). A run that fails leaves its folder, with what the
service said, beside the record, and is done anew by the next call.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..integration.redis_server import RedisServer
from ..integration.service import QUICK, Service, check_each_ended_once
from . import record
from .forked import ForkedService, Mother
from .kills import Batter
from .load import IN_FLIGHT, Load

SETTINGS = "lease_s = 3.0\nheartbeat_s = 0.5\nmax_attempts = 100\nmax_queued = 5000\ndrain_s = 1.0\nretry_s = 0.2\n"
BUNDLED_EVERY = 5
STARTED_EVERY = 10
PATIENCE_S = 900.0
LOOKED_AT = 150  # jobs of a run whose events and pictures are fetched; of all, the final state and the stored picture
TINY_INPUTS = {"width": 64, "height": 64}


def main() -> int:
    """Do the runs that are not on record; 1 where together they are not what is promised, raises where one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=record.RUNS)
    parser.add_argument("--kills", type=int, default=57, help="in a run with the tiny model")
    parser.add_argument("--bundled-kills", type=int, default=26, help="in a run with the bundled model")
    parser.add_argument("--record", type=Path, default=Path("~/.cache/darkroom/soak.json").expanduser())
    parser.add_argument("--only", type=int, nargs="+", help="these runs alone, so that several may go on side by side")
    asked = parser.parse_args()
    wanted = asked.only or range(asked.runs)
    with Mother() as mother:
        while left := record.left(asked.record, wanted):
            kills = asked.bundled_kills if left[0] % BUNDLED_EVERY == 0 else asked.kills
            done = run(left[0], kills, asked.record.parent / f"soak-{left[0]}", mother)
            record.add(asked.record, done)
            print(json.dumps(done), flush=True)
    records = record.read(asked.record)
    missing = record.missing(records)
    print(record.summary(records) + "".join(f"\nmissing: {what}" for what in missing))
    return 1 if missing else 0


def run(number: int, kills: int, home: Path, mother: Mother) -> record.Record:
    """One run; raises where a job was lost, doubled or failed."""
    rng, began = random.Random(number), time.monotonic()
    is_bundled, is_forked = number % BUNDLED_EVERY == 0, number % STARTED_EVERY != 0
    model, store = record.BUNDLED if is_bundled else "tiny", "redis" if number % 2 else "sqlite"
    inputs = {**QUICK, **({} if is_bundled else TINY_INPUTS)}
    workers = 1 if is_bundled else 2
    write_settings(home, model, workers)
    with redis_if(store == "redis") as redis:
        environment = {"DARKROOM_STORE": redis.url} if redis else {}
        asked = (home, environment, ("--model", model))
        with ready(ForkedService(*asked, mother) if is_forked else Service(*asked)) as service:
            with Load(service, inputs, (1, 8) if is_bundled else (1, 20)) as load:
                batter = Batter(service, redis, rng, load)
                batter.run(kills)
            jobs = service.wait_all(load.ids, PATIENCE_S)
            check(service, load.ids, jobs, (inputs["width"], inputs["height"]))
    shutil.rmtree(home)
    return {
        "run": number,
        "model": model,
        "store": store,
        "workers": workers,
        "forked": is_forked,
        "jobs": len(jobs),
        "kills": dict(batter.killed),
        "at_work": batter.at_work,
        "attempts": sum(job["attempt"] for job in jobs),
        "seconds": round(time.monotonic() - began, 1),
    }


def check(service: Service, ids: list[str], jobs: list[dict[str, Any]], size: tuple[int, int]) -> None:
    """Each accepted job succeeded once, and its picture lies there; and they were a load."""
    assert len(jobs) > IN_FLIGHT, f"{len(jobs)} jobs are no load"
    check_each_ended_once(service, ids, jobs, size, every=-(-len(jobs) // LOOKED_AT))
    stored = {path.parent.name for path in (service.home / "artifacts" / "outputs").rglob("*.png")}
    missing = {job["id"] for job in jobs} - stored
    assert not missing, missing
    # A worker that is killed alone with a job has that attempt charged; none would mean that no kill met work.
    assert sum(job["attempt"] for job in jobs) > len(jobs), "no kill cut an attempt short"


def write_settings(home: Path, model: str, workers: int) -> None:
    """A fresh folder with darkroom.toml, and the tiny model where it is used."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    text = f"[serve]\n{SETTINGS}workers = {workers}\n"
    if model == "tiny":
        from .tiny import save_tiny

        save_tiny(home / "tiny")
        text += '[models.tiny]\npath = "tiny"\nsizes = [[64, 64]]\ndefault_size = [64, 64]\n'
    (home / "darkroom.toml").write_text(text)


@contextmanager
def ready(service: Service) -> Iterator[Service]:
    """A service that is ready, and gone afterwards; where that fails, what it said is kept in its folder."""
    try:
        service.wait_ready()
        yield service
    except BaseException:
        (service.home / "said.log").write_text("".join(service.said))
        raise
    finally:
        service.abandon()


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

"""`python -m bench.coldstart`: seconds until a worker of the bundled model is ready, forked and from cold.

Pairs take turns: a worker that the local driver forks, and `darkroom worker` as anybody starts it, each in a fresh home
and alone. *Ready* is the first report that says so in the store, with the model loaded and one picture made. The
fork-server is prepared once, before the pairs, and the page cache is warm for both.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil

from darkroom.config import load
from darkroom.core import WorkerReport
from darkroom.fleet.drivers.local import LocalDriver
from darkroom.fleet.nouns import Pool
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Store

from .service import box

POOL = Pool("forked", max_workers=2)
LOOK_S = 0.01


@dataclass(frozen=True)
class Start:
    """Seconds until ready, CPU seconds that the worker used until then, MiB that are its own (None: not told here)."""

    wall_s: float
    cpu_s: float
    own_mb: float | None


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.coldstart", description=main.__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="torch threads of a worker")
    parser.add_argument("--out", type=Path, default=Path("out/bench-coldstart.json"))
    asked = parser.parse_args()
    found = measure(asked.pairs, asked.threads)
    medians = {f"{kind}, {name}": middle(starts, name) for kind, starts in found.items() for name in asdict(starts[0])}
    load_1, *_ = os.getloadavg()
    print("\n".join(f"{name:24} {value:8.2f}" for name, value in medians.items()))
    print(f"one-minute load at the end: {load_1:.1f} on {os.cpu_count()} cores")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    said = {kind: [asdict(start) for start in starts] for kind, starts in found.items()}
    asked.out.write_text(json.dumps({"medians": medians, "load": load_1, **said}, indent=1), encoding="utf-8")


def middle(starts: list[Start], name: str) -> float:
    """The median of one column; 0 where it is not told."""
    return median(getattr(start, name) or 0.0 for start in starts)


def measure(pairs: int, threads: int) -> dict[str, list[Start]]:
    """The starts of each kind, pair by pair."""
    with box.folder() as home, forking(home, threads) as driver, closing(store_at(home)) as store:
        server = forked(driver, store)  # it has to import everything before
        found: dict[str, list[Start]] = {"forked": [], "cold": []}
        for number in range(pairs):
            found["forked"].append(forked(driver, store))
            found["cold"].append(cold(threads, number))
        return {"fork-server and its first worker": [server], **found}


@contextmanager
def forking(home: Path, threads: int) -> Iterator[LocalDriver]:
    """A local driver at home in that folder."""
    os.environ.update(DARKROOM_HOME=str(home), DARKROOM_THREADS=str(threads), OMP_WAIT_POLICY="PASSIVE")
    settings = load(home / "darkroom.toml")
    with closing(store_at(home)) as store, closing(LocalDriver(settings, store)) as driver:
        yield driver


def forked(driver: LocalDriver, store: Store) -> Start:
    """From `scale` to ready; gone again afterwards."""
    began = time.perf_counter()
    driver.scale(POOL, 1)
    (member,) = driver.members()
    start = taken(began, store, member.name, driver.members)
    driver.scale(POOL, 0)
    box.wait_until(lambda: not driver.members())
    return start


def cold(threads: int, number: int) -> Start:
    """From the command to ready."""
    with box.folder() as home, closing(store_at(home)) as store:
        began = time.perf_counter()
        with box.process(box.darkroom("worker", "--id", f"cold-{number}"), home, threads):
            return taken(began, store, f"cold-{number}")


def taken(began: float, store: Store, name: str, look: Callable[[], object] = lambda: None) -> Start:
    """What it has taken by the time that it says that it is ready."""
    while (report := report_of(store, name)) is None or report.state != "ready":
        look()
        time.sleep(LOOK_S)
    wall_s = time.perf_counter() - began
    process = psutil.Process(int(report.facts["pid"]))
    used, memory = process.cpu_times(), process.memory_full_info()
    own = getattr(memory, "uss", None)
    return Start(wall_s, used.user + used.system, own and own / 2**20)


def report_of(store: Store, name: str) -> WorkerReport | None:
    """The last report of that worker."""
    return next((report for report in store.workers(0.0) if report.id == name), None)


def store_at(home: Path) -> Store:
    """The store of a home."""
    return open_store(f"sqlite:///{home / 'jobs.sqlite3'}")


if __name__ == "__main__":
    main()

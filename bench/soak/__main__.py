"""`python -m bench.soak`: a whole service under mixed load for two hours; JSON, and a table of what grew and was lost.

Two workers on SQLite and the model that ships. One worker is killed (`kill -9`) now and then; the other lives all the
time, and its memory is the worker's in the table. A process that ends without having been killed is a fault. A floor
that is not reached gives exit code 1, and so does what could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.engine import report
from bench.engine.figure import Figure
from bench.service import box

from .memory import Watch, longest, slope
from .traffic import Traffic

THREADS = 1
PATIENCE_S = 600.0  # for what is under way when the load ends
GROWTH = 0.02  # of its own memory an hour: what counts as flat
DESCRIPTORS = 10.0  # more an hour: the same
WARM_UP = 0.25  # of the time: caches and pools fill
PROCESSES = {"gateway": 1, "worker": 2}


def main(arguments: list[str]) -> int:
    """Run, print, write."""
    asked = _parser().parse_args(arguments)
    seconds = asked.minutes * 60
    with box.folder() as home, _service(home) as (url, supervisor):
        traffic = Traffic(url, random.Random(asked.seed), asked.pause_s)
        with Watch(supervisor, home, PROCESSES, min(10.0, seconds / 40), asked.kill_every_s) as watch:
            asyncio.run(traffic.run(seconds, PATIENCE_S))
    faults = [*traffic.faults, *watch.faults]
    _write(asked.out, shlex.join(["python", "-m", "bench.soak", *arguments]), traffic, watch)
    by_threads = {THREADS: [*_counts(traffic, watch, seconds), *_growth(watch, seconds * WARM_UP)]}
    print(report.table(by_threads))
    print("\n".join(f"fault: {fault}" for fault in faults))
    print(f"callers: {json.dumps(traffic.done)}\nwritten: {asked.out}")
    return int(bool(report.missed(by_threads)))


def _write(out: Path, command: str, traffic: Traffic, watch: Watch) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    happened = {"done": traffic.done, "kills": watch.kills, "faults": [*traffic.faults, *watch.faults]}
    series = {"samples": watch.memory, "descriptors": watch.descriptors, "disk": watch.disk}
    out.write_text(json.dumps({"command": command, **happened, **series}, indent=1))


def _counts(traffic: Traffic, watch: Watch, seconds: float) -> list[Figure]:
    faults = float(len(traffic.faults) + len(watch.faults))
    due = seconds // (watch.kill_every_s + 2 * watch.every_s)  # it looks at the clock between two samples
    return [
        Figure("soak", "callers", float(traffic.done.total()), "callers"),
        Figure("soak", "jobs accepted and kept", float(len(traffic.owed)), "jobs"),
        Figure("soak", "workers killed", float(watch.kills), "kills", due or None),
        Figure("soak", "lost, stuck, or not as promised", faults, "faults", 0, is_more_better=False),
    ]


def _growth(watch: Watch, after_s: float) -> Iterator[Figure]:
    for kind in ("supervisor", *PROCESSES):
        growth, size = slope(longest(watch.memory, kind), after_s)
        yield Figure("soak", f"memory of the {kind}, mean", size, "MiB")
        yield Figure("soak", f"memory of the {kind}, slope", growth, "MiB/h", size * GROWTH, is_more_better=False)
        growth, count = slope(longest(watch.descriptors, kind), after_s)
        yield Figure("soak", f"open files of the {kind}, mean", count, "files")
        yield Figure("soak", f"open files of the {kind}, slope", growth, "files/h", DESCRIPTORS, is_more_better=False)
    growth, size = slope(watch.disk, after_s)
    yield Figure("soak", "disk, mean", size, "MiB")
    yield Figure("soak", "disk, slope", growth, "MiB/h")  # pictures are kept: told, not judged


@contextmanager
def _service(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`darkroom serve`, ready, and its process."""
    port = box.free_port()
    with (home / "darkroom.toml").open("a") as settings:
        settings.write(f"workers = {PROCESSES['worker']}\n")
    with box.process(box.darkroom("serve", "--port", str(port)), home, THREADS) as started:
        url = f"http://127.0.0.1:{port}"
        box.wait_until(lambda: box.answers(f"{url}/readyz"))
        yield url, psutil.Process(started.pid)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Hours of mixed load.")
    parser.add_argument("--minutes", type=float, default=120.0, help="how long callers come")
    parser.add_argument("--pause-s", type=float, default=2.0, help="mean seconds between two callers")
    parser.add_argument("--kill-every-s", type=float, default=600.0, help="seconds between two kills of a worker")
    parser.add_argument("--seed", type=int, default=0, help="which callers come when")
    parser.add_argument("--out", type=Path, default=Path("out/bench-soak.json"), help="JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

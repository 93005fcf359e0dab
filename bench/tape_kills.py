"""How many steps a `kill -9` costs with `tape_every = 1`: one job, whose worker is killed again and again.

Each worker tells in a file of its own which step the engine has taken, for what the store knows of that lags; and which
step was the last to be told when the last tape that is stored was begun. Workers are forked from a process that has
imported everything, which would take most of the time otherwise.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion
import diffusers.schedulers.scheduling_dpmsolver_multistep  # noqa: F401

from darkroom.config import load
from darkroom.core import NewJob
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits, Store
from darkroom.worker.events import AttemptResumed, WorkerEvent
from darkroom.worker.main import worker_main
from darkroom.worker.tapes import Tapes

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])
REACHED, STORED, RESUMED = range(3)  # lines of the file, each WIDTH characters
WIDTH = 8
PATIENCE_S, POLL_S, JITTER_S = 600.0, 0.005, 0.2
ASKED = {"prompt": "a lake at dusk", "seed": 1, "guidance_scale": 4.0, "width": 256, "height": 256, "solver": "dpm++2m"}


@dataclass(frozen=True)
class Kill:
    """The steps that the engine had taken, those that were surely stored, and where the next worker went on."""

    reached: int
    stored: int
    resumed: int

    @property
    def lost(self) -> int:
        """Steps taken twice, not counting the one that was interrupted."""
        return self.reached - self.resumed


def steps_lost(kills: int, steps: int = 40) -> dict[str, float]:
    """The worst and the mean of so many kills, at moments spread over one job."""
    with tempfile.TemporaryDirectory() as folder:
        found = [kill.lost for kill in killed(Path(folder), kills, steps)]
    return {"kills": len(found), "steps_lost_worst": max(found), "steps_lost_mean": sum(found) / len(found)}


def killed(folder: Path, kills: int, steps: int) -> list[Kill]:
    """Kill the job's worker so often; the last one only says where it goes on."""
    jitter, told, found = random.Random(5), [folder / f"told-{number}" for number in range(kills + 1)], list[Kill]()
    (folder / "darkroom.toml").write_text('home = "home"\nthreads = 1\n[serve]\ntape_every = 1\n')
    settings = load(folder / "darkroom.toml")
    settings.home.mkdir(exist_ok=True)
    store = open_store(settings.store_url, Limits(settings.serve.lease_s))
    try:
        submit(store, kills, steps)
        for number, path in enumerate(told):
            before = told[number - 1]
            with working(folder, number):
                if number:
                    wait_for(path, RESUMED, 1)
                    found.append(Kill(read(before, REACHED), read(before, STORED), read(path, RESUMED)))
                if number < kills:
                    wait_for(path, REACHED, (number + 1) * (steps - 6) // kills)
                    time.sleep(jitter.random() * JITTER_S)
            store.rescue(time.time() + settings.serve.lease_s)
    finally:
        store.close()
    return found


def submit(store: Store, kills: int, steps: int) -> None:
    """The job, with attempts enough for all that will be done to it."""
    asked = {**ASKED, "num_inference_steps": steps, "reproducible": True}
    given: dict[str, Any] = {"tenant": "local", "model": "landscapes", "task": "text-to-image", "steps": steps}
    store.insert([NewJob("job-1", input=asked, max_attempts=kills + 2, **given)], time.time())


@contextmanager
def working(folder: Path, number: int) -> Iterator[None]:
    """A worker, killed at the end as the kernel would."""
    worker = FORKS.Process(target=live, args=(folder, number))
    worker.start()
    try:
        yield
    finally:
        worker.kill()
        worker.join()


def wait_for(path: Path, line: int, least: int) -> None:
    """Return when a worker has told so much; raises `TimeoutError`."""
    until = time.monotonic() + PATIENCE_S
    while read(path, line) < least:
        if time.monotonic() > until:
            raise TimeoutError("a worker does nothing")
        time.sleep(POLL_S)


def read(path: Path, line: int) -> int:
    """What a worker has told last; 0 where it has told nothing."""
    said = path.read_bytes()[line * WIDTH :][:WIDTH] if path.exists() else b""
    return int(said.replace(b"\0", b" ") or 0) if said.strip(b"\0 ") else 0


def live(folder: Path, number: int) -> None:
    """Be the worker: the file is written before the worker's own tapes hear of the step, and after one is stored."""
    log = os.open(folder / f"{number}.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    file = os.open(folder / f"told-{number}", os.O_RDWR | os.O_CREAT)
    stepped, store = Tapes.stepped, Tapes.store

    def tell(line: int, step: int) -> None:
        os.pwrite(file, b"%8d" % step, line * WIDTH)

    def telling(self: Tapes, attempt: Any, image: int, step: int, steps: int) -> None:
        tell(REACHED, step)
        stepped(self, attempt, image, step, steps)

    def storing(self: Tapes, attempt: Any, image: int) -> None:
        before = read(folder / f"told-{number}", REACHED)
        store(self, attempt, image)
        tell(STORED, before)

    def hear(event: WorkerEvent) -> None:
        if isinstance(event, AttemptResumed):
            tell(RESUMED, event.step)

    Tapes.stepped, Tapes.store = telling, storing  # type: ignore[method-assign]
    worker_main(load(folder / "darkroom.toml"), f"w{number}", ["landscapes"], listeners=[hear])

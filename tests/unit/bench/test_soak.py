"""What the soak watches over is seen: a process that ends by itself, a caller that stumbles, a picture that is torn."""

from __future__ import annotations

import asyncio
import io
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from PIL import Image

from bench.soak.memory import Watch, slope
from bench.soak.traffic import Traffic, is_heeded
from darkroom.client.nouns import Job

EXPECTED = {"gateway": 1, "worker": 2}
SUPERVISOR = """
import subprocess, sys, time
begin = lambda kind: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", kind])
running = {kind: begin(kind.rstrip("12")) for kind in ("gateway", "worker1", "worker2")}
print("ready", flush=True)
while True:
    for kind, process in running.items():
        if process.poll() is not None:
            running[kind] = begin(kind.rstrip("12"))
    time.sleep(0.02)
"""


@contextmanager
def supervised() -> Iterator[psutil.Process]:
    """A process that begins its children again."""
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        supervisor = psutil.Process(started.pid)
        found = set(supervisor.children())
        try:
            yield supervisor
        finally:
            found |= set(supervisor.children()) if supervisor.is_running() else set()
            started.kill()
            for child in found:
                if child.is_running():
                    child.kill()


def watch_of(supervisor: psutil.Process, home: Path, kill_every_s: float = 600.0) -> Watch:
    return Watch(supervisor, home, EXPECTED, every_s=0.05, kill_every_s=kill_every_s)


def wait_for(watch: Watch, kind: str, count: int) -> None:
    until = time.monotonic() + 60
    while len(watch.pids(kind)) < count and time.monotonic() < until:
        time.sleep(0.02)
    assert len(watch.pids(kind)) >= count


def test_workers_that_the_watch_kills_are_no_faults(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(bytes(2**20))
    with supervised() as supervisor, watch_of(supervisor, tmp_path, kill_every_s=0.2) as watch:
        wait_for(watch, "worker", 4)
    assert watch.faults == []
    assert watch.kills >= 2
    assert len(watch.pids("worker")) == 2 + watch.kills
    assert {round(size) for _, size in watch.disk} == {1}
    assert all(count > 0 for series in watch.descriptors.values() for _, count in series)


@pytest.mark.parametrize("kind", ["gateway", "worker"])
def test_a_process_that_ends_by_itself_is_a_fault_though_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("bench.soak.memory.RESTART_S", 0.0)
    with supervised() as supervisor, watch_of(supervisor, tmp_path) as watch:
        wait_for(watch, kind, EXPECTED[kind])
        psutil.Process(int(min(watch.pids(kind)))).kill()
        wait_for(watch, kind, EXPECTED[kind] + 1)
    [fault] = watch.faults
    assert f"{EXPECTED[kind] + 1} of the {kind} were seen, where {EXPECTED[kind]} were to be" in fault


def test_a_watch_that_ends_early_is_a_fault(tmp_path: Path) -> None:
    with supervised() as supervisor, watch_of(supervisor, tmp_path) as watch:
        wait_for(watch, "worker", 2)
        children = supervisor.children()
        supervisor.kill()
        supervisor.wait()
        watch._thread.join(60)
        for child in children:
            child.kill()
    assert ["the watch ended early" in fault for fault in watch.faults] == [True]


def test_what_was_not_sampled_has_no_slope_and_raises_nothing() -> None:
    assert all(map(math.isnan, slope([(1.0, 5.0)], after_s=10.0)))


def test_whatever_ends_a_caller_is_a_fault_and_its_end_is_counted() -> None:
    async def torn() -> None:
        whole = io.BytesIO()
        Image.effect_noise((64, 64), 60).save(whole, "PNG")
        Image.open(io.BytesIO(whole.getvalue()[:-2000])).load()

    async def late() -> None:
        raise TimeoutError

    async def odd() -> None:
        raise KeyError("field")

    traffic = Traffic("http://127.0.0.1:9", random.Random(0), 1.0)
    for does in (torn, late, odd):
        asyncio.run(traffic._call("waits", does))
    assert [fault.split(": ")[1] for fault in traffic.faults] == ["OSError", "TimeoutError", "KeyError"]
    assert traffic.done["waits"] == 3


def job(state: str, *, step: int = 5, is_cancelling: bool = False) -> Job:
    lists: dict[str, list[str]] = {"errors": [], "warnings": [], "outputs": []}
    return Job.read({"state": state, "step": step, "steps": 20, "is_cancelling": is_cancelling, **lists})


def test_a_cancel_that_is_accepted_and_not_heeded_is_seen() -> None:
    early, late = (job("running", step=step, is_cancelling=True) for step in (5, 19))
    assert is_heeded(early, job("cancelled"))
    assert not is_heeded(early, job("succeeded"))
    assert is_heeded(late, job("succeeded"))
    assert not is_heeded(job("running"), job("cancelled"))
    assert is_heeded(job("succeeded"), job("succeeded"))
    assert not is_heeded(job("failed"), job("failed"))

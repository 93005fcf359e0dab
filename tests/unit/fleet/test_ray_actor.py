"""What an actor of the Ray driver does with its worker process; no Ray is needed for that."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from darkroom.fleet.drivers.ray_actor import CONFIG_FILE, ActorName, RayWorker

# Writes its process id and what it was told, and ends when its pipe closes, unless it is stubborn.
PROGRAM = """
import os, pathlib, sys, time
said, is_stubborn = pathlib.Path(sys.argv[1]), sys.argv[2] == "stubborn"
said.with_suffix(".new").write_text(f"{os.getpid()} {os.environ.get('DARKROOM_CONFIG')}")
said.with_suffix(".new").rename(said)
while os.read(int(sys.argv[sys.argv.index("--parent-fd") + 1]), 1) or is_stubborn:
    time.sleep(0.01)
"""


class Actor:
    """A worker that is there, and when it is gone."""

    def __init__(self, folder: Path, *, is_stubborn: bool = False, stop_s: float = 60.0) -> None:
        self.gone = threading.Event()
        arguments = ["-S", "-c", PROGRAM, str(folder / "said"), "stubborn" if is_stubborn else "obedient"]
        self.worker = RayWorker(arguments, {CONFIG_FILE: str(folder / "darkroom.toml")}, stop_s, self.gone.set)
        end = time.monotonic() + 60
        while not (folder / "said").exists():
            assert time.monotonic() < end, "the program did not start"
            time.sleep(0.01)
        pid, self.config = (folder / "said").read_text().split(" ", 1)
        self.process = psutil.Process(int(pid))


def test_a_name_says_pool_worker_and_moment() -> None:
    name = ActorName("a:pool", "w-1", 1795377308.405)
    assert ActorName.read(str(name)) == name


def test_its_worker_is_nobody_s_child_and_drains_when_asked(tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").touch()
    actor = Actor(tmp_path)
    assert actor.process not in psutil.Process().children(recursive=True)
    assert actor.config == str(tmp_path / "darkroom.toml")
    assert not actor.worker.is_leaving()
    actor.worker.drain()
    actor.worker.drain()
    assert actor.worker.is_leaving()
    assert actor.gone.wait(60)
    actor.process.wait(60)


def test_one_that_does_not_drain_is_killed(tmp_path: Path) -> None:
    actor = Actor(tmp_path, is_stubborn=True, stop_s=0.2)
    assert not actor.gone.wait(0.5)  # nobody asked it yet
    actor.worker.drain()
    assert actor.gone.wait(60)
    actor.process.wait(60)


def test_one_that_dies_ends_its_actor(tmp_path: Path) -> None:
    actor = Actor(tmp_path)
    actor.process.kill()
    assert actor.gone.wait(60)


def test_a_darkroom_toml_that_is_not_on_the_node_is_not_asked_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    actor = Actor(tmp_path)
    assert actor.config == "None"
    assert "is not on this node" in capfd.readouterr().err
    actor.worker.drain()
    assert actor.gone.wait(60)

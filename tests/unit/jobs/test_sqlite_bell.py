"""Who waits for a commit hears of it, from this process or another, with and without the system's help."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import NewJob
from darkroom.jobs import sqlite_bell
from darkroom.jobs.sqlite import SqliteStore
from darkroom.jobs.sqlite_bell import Ear
from darkroom.jobs.store import Limits

LONG_S = 60.0  # so long that a test which waits it out has failed
OPEN = """
import os, signal, sys
from pathlib import Path
from darkroom.core import NewJob
from darkroom.jobs.sqlite import SqliteStore
from darkroom.jobs.sqlite_bell import Bell
from darkroom.jobs.store import Limits
store = SqliteStore(Path(sys.argv[1]), Limits())
"""
DIE_AT_THE_RING = "Bell.ring = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
INSERT = 'store.insert([NewJob("y", "t", "m", "text-to-image", {})], 1.0)\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, Limits())
    yield store
    store.close()


@pytest.fixture
def only_rings(monkeypatch: pytest.MonkeyPatch, store: SqliteStore, path: Path) -> None:
    """Nobody looks for himself."""
    try:
        Ear(path.with_name("jobs.sqlite3-shm")).close()
    except OSError as why:
        pytest.skip(f"this system has no inotify: {why}")
    monkeypatch.setattr(sqlite_bell, "LONGEST_S", 10 * LONG_S)


def insert(store: SqliteStore, path: Path) -> None:
    store.insert([NewJob("y", "t", "m", "text-to-image", {})], 1.0)


def insert_elsewhere(store: SqliteStore, path: Path) -> None:
    subprocess.run([sys.executable, "-c", OPEN + INSERT, str(path)], check=True)


def heard_while_waiting(wait: Callable[[], Any], act: Callable[[], None]) -> list[Any]:
    """What a wait that began before the act returned; nothing where it has not."""
    heard: list[Any] = []
    waiting = threading.Thread(target=lambda: heard.append(wait()), daemon=True)
    waiting.start()
    waiting.join(0.2)  # it sleeps by now
    act()
    waiting.join(LONG_S)
    return heard


@pytest.mark.usefixtures("only_rings")
@pytest.mark.parametrize("insert", [insert, insert_elsewhere])
def test_who_follows_events_hears_a_commit_without_looking(
    store: SqliteStore, path: Path, insert: Callable[[SqliteStore, Path], None]
) -> None:
    reached, _ = store.tail(None, 0.0)
    [(_, noted)] = heard_while_waiting(lambda: store.tail(reached, 10 * LONG_S), lambda: insert(store, path))
    assert [each.job_id for each in noted] == ["y"]


@pytest.mark.usefixtures("only_rings")
@pytest.mark.parametrize("insert", [insert, insert_elsewhere])
def test_who_waits_for_work_hears_a_commit_without_looking(
    store: SqliteStore, path: Path, insert: Callable[[SqliteStore, Path], None]
) -> None:
    assert heard_while_waiting(lambda: store.wait_for_work(10 * LONG_S), lambda: insert(store, path)) == [None]


def test_on_another_system_they_look_for_themselves(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_bell._inotify.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    reached, _ = store.tail(None, 0.0)
    [(_, noted)] = heard_while_waiting(lambda: store.tail(reached, LONG_S), lambda: insert(store, path))
    assert [each.job_id for each in noted] == ["y"]


def test_a_commit_whose_process_died_before_it_rang_is_found(store: SqliteStore, path: Path) -> None:
    def insert_and_die() -> None:
        child = subprocess.run([sys.executable, "-c", OPEN + DIE_AT_THE_RING + INSERT, str(path)], check=False)
        assert child.returncode == -signal.SIGKILL

    assert heard_while_waiting(lambda: store.wait_for_work(10 * LONG_S), insert_and_die) == [None]
    assert store.get("y") is not None

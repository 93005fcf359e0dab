"""A real store in a folder of the test's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.core import Job
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Limits, Store

from .jobs import new_job


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}", Limits(lease_s=30.0))
    yield opened
    opened.close()


@pytest.fixture
def claimed(store: Store) -> Job:
    """A job that worker w1 holds."""
    now = time.time()
    store.insert([new_job("j1", now=now)], now)
    (job,) = store.claim(Claimant("w1", ("landscapes",)), 1, now)
    return job

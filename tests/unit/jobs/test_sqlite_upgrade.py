"""A database that an earlier release wrote opens, and everything in it goes on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import Allowance, Job, JobState, Lease, NewJob, Usage
from darkroom.errors import LimitExceeded
from darkroom.jobs.ledger import UPLOAD_BYTES
from darkroom.jobs.sqlite import SqliteStore
from darkroom.jobs.sqlite_files import JOBS_KIND
from darkroom.jobs.sqlite_salvage import salvage
from darkroom.jobs.sqlite_statements import migrations
from darkroom.jobs.store import Claimant, Limits

NOW = 1_000_000.0
ME = Claimant("w", ("m",), ("m",))
JOB = {"tenant": "t", "model": "m", "task": "text-to-image", "output": "{}", "metadata": "{}", "warnings": "[]"}
JOB |= {"priority": 0, "rank": 1.0, "share": 1.0, "cost_s": 1.0, "steps": 4, "max_attempts": 3, "request_id": "r"}
JOB |= {"input": json.dumps({"prompt": "x"}), "created_at": NOW, "queued_at": NOW, "webhook": "https://example.org/"}
RUN = {"worker": "w", "lease_until": NOW + 30, "fence": 1, "attempt": 1, "started_at": NOW}
ROWS = {
    "waits": {"state": "queued", "rank": 2.0, "webhook": None},
    "runs": {"state": "running", **RUN},
    "is done": {"state": "succeeded", "ended_at": NOW, "metrics": json.dumps({"device_s": 2.5})},
}


def add(db: sqlite3.Connection, table: str, **values: Any) -> None:
    """Insert one row."""
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of version 1, with a job that waits, one that runs, one that has ended, and their files."""
    path = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(migrations()[0])
        db.execute(f"PRAGMA application_id = {JOBS_KIND}")
        db.execute("PRAGMA user_version = 1")
        for name, row in ROWS.items():
            add(db, "job", id=name, **JOB | row)
        for name, size, job_id in (("output", 70, "is done"), ("upload", 7, None)):
            file = {"tenant": "t", "key": name, "content_type": "image/png", "created_at": NOW}
            add(db, "artifact", id=name, size=size, job_id=job_id, **file)
        db.commit()
    return path


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, Limits())
    yield store
    store.close()


def test_jobs_of_the_version_before_are_as_they_were(store: SqliteStore) -> None:
    for name, row in ROWS.items():
        job = store.get(name)
        assert job is not None
        assert (job.state.value, job.rank, job.input) == (row["state"], row.get("rank", 1.0), {"prompt": "x"})
        assert (job.key_id, job.traceparent) == ("", "")
        assert job.webhook_events == ("succeeded", "failed", "cancelled")
    done = store.get("is done")
    assert done is not None
    assert [artifact.id for artifact in done.outputs] == ["output"]
    assert done.metrics == {"device_s": 2.5}


def test_jobs_of_the_version_before_go_on_and_tell_their_webhooks(store: SqliteStore) -> None:
    assert store.complete(Lease("runs", 1), [], {"device_s": 3.0}, NOW + 1).state == JobState.SUCCEEDED
    assert [call.event for call in store.deliveries("runs")] == ["succeeded"]
    assert [call.job_id for call in store.due_deliveries(NOW + 1, 9, 30.0)] == ["runs"]
    (job,) = store.claim(ME, 1, NOW + 1)
    assert job.id == "waits"
    assert store.deliveries("is done") == []  # it ended before anybody was told of anything
    assert store.usage("", NOW) == Usage()


def test_artifacts_of_the_version_before_are_counted(store: SqliteStore) -> None:
    assert store.stored_bytes() == 77
    assert [artifact.id for artifact in store.prune_bytes(10, NOW)] == ["output"]
    assert (store.stored_bytes(), store.uploaded_bytes("t")) == (7, UPLOAD_BYTES)
    store.delete_artifact("upload")
    assert (store.stored_bytes(), store.uploaded_bytes("t")) == (0, 0)


def test_keys_count_from_the_upgrade_on(store: SqliteStore) -> None:
    new = NewJob("new", "t", "m", "text-to-image", {}, key_id="k", allowance=Allowance(live_jobs=1))
    (job,) = store.insert([new], NOW)
    assert isinstance(job, Job)
    (refused,) = store.insert([NewJob(**vars(new) | {"id": "one more"})], NOW)
    assert isinstance(refused, LimitExceeded)


def test_a_damaged_database_of_the_version_before_is_saved_into_the_present_one(path: Path, tmp_path: Path) -> None:
    saved = salvage(path, tmp_path / "new.sqlite3")
    assert (saved["job"], saved["artifact"], saved["delivery"]) == (3, 2, 0)
    with closing(SqliteStore(tmp_path / "new.sqlite3", Limits())) as store:
        assert store.stored_bytes() == 77
        assert store.get("runs") is not None


def test_the_ledger_is_saved_from_a_damaged_database(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    allowance = Allowance(jobs_per_minute=1)
    new = NewJob("new", "t", "m", "text-to-image", {}, key_id="k", allowance=allowance, webhook="https://example.org/")
    store.insert([new], NOW)
    store.cancel("new", NOW)
    salvage(path, tmp_path / "new.sqlite3")
    with closing(SqliteStore(tmp_path / "new.sqlite3", Limits())) as saved:
        assert saved.usage("k", NOW) == store.usage("k", NOW)
        assert saved.deliveries("new") == store.deliveries("new") != []

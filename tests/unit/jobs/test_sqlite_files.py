"""The files of a SQLite store: what is refused and left as it is, and what is made anew."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from darkroom.core import Job, NewJob
from darkroom.errors import DarkroomError, StoreCorrupt, StoreUnavailable
from darkroom.jobs.sqlite import SqliteStore
from darkroom.jobs.sqlite_database import Database, examine, naming_errors
from darkroom.jobs.sqlite_files import JOBS_KIND, place_risks
from darkroom.jobs.sqlite_salvage import salvage
from darkroom.jobs.sqlite_statements import FOLDER, migrations, split
from darkroom.jobs.store import Claimant, Limits, Store

NOW = 1_000_000.0
Open = Callable[[Path], Store]


@pytest.fixture
def open_store() -> Iterator[Open]:
    opened: list[Store] = []

    def open_one(path: Path) -> Store:
        opened.append(SqliteStore(path, Limits()))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def insert(store: Store, job_id: str) -> Job:
    (job,) = store.insert([NewJob(job_id, "t", "m", "text-to-image", {"prompt": "x" * 5000})], NOW)
    assert isinstance(job, Job), job
    return job


def make(path: Path, jobs: int = 30) -> list[str]:
    """A database with jobs, closed."""
    store = SqliteStore(path, Limits())
    names = [insert(store, f"job-{number}").id for number in range(jobs)]
    store.close()
    return names


def contents(folder: Path) -> dict[str, bytes]:
    """What the files hold; not the shared memory of readers, which SQLite makes anew."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".sqlite3-shm" and path.is_file()
    }


def test_events_go_on_after_a_backup_of_the_jobs_was_put_back(tmp_path: Path, open_store: Open) -> None:
    path, backup = tmp_path / "jobs.sqlite3", tmp_path / "backup.sqlite3"
    make(path, 1)
    shutil.copy(path, backup)
    store = SqliteStore(path, Limits())
    for number in range(9):
        insert(store, f"lost-{number}")
    store.close()
    shutil.copy(backup, path)
    store = open_store(path)
    reached, _ = store.tail(None, 0)
    job = insert(store, "later")
    assert [noted.job_id for noted in store.tail(reached, 0)[1]] == [job.id]
    assert [event.type for event in store.events(job.id, 0)] == ["queued"]


def test_the_event_file_is_examined_while_others_may_write_jobs(
    tmp_path: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, looked = tmp_path / "jobs.sqlite3", list[str]()
    make(path)

    def watched(each: Path) -> tuple[int, int, bool]:
        looked.append(each.name)
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")  # raises where the lock is held
        return examine(each)

    monkeypatch.setattr("darkroom.jobs.sqlite_files.examine", watched)
    open_store(path)
    assert looked == ["jobs.sqlite3", "jobs-events.sqlite3"]


# A database that cannot be trusted


def overwrite_the_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 20_000)


def cut_short(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 + 100)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "not a database": lambda path: path.write_bytes(b"hello, this is no database at all\n" * 100),
    "overwritten": overwrite_the_middle,
    "cut short": cut_short,
    "header gone": lambda path: path.write_bytes(b"\0" * 100 + path.read_bytes()[100:]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_refused_and_left_as_it_is(tmp_path: Path, open_store: Open, damage: str) -> None:
    path = tmp_path / "jobs.sqlite3"
    make(path)
    DAMAGES[damage](path)
    before = contents(tmp_path)
    with pytest.raises(StoreCorrupt) as caught:
        open_store(path)
    assert {name: contents(tmp_path)[name] for name in before} == before
    assert str(path) in caught.value.message
    assert "sqlite_salvage" in caught.value.message


def crash(source: Path, target: Path) -> None:
    """What a power cut leaves of an open database: the file, and its log beside it."""
    target.mkdir()
    for name in ("jobs.sqlite3", "jobs.sqlite3-wal"):
        shutil.copy(source / name, target / name)


def test_a_damaged_database_with_a_log_is_left_as_it_is(tmp_path: Path, open_store: Open) -> None:
    make(tmp_path / "jobs.sqlite3")
    store = open_store(tmp_path / "jobs.sqlite3")
    insert(store, "in the log")
    crash(tmp_path, tmp_path / "after")
    overwrite_the_middle(tmp_path / "after" / "jobs.sqlite3")
    before = contents(tmp_path / "after")
    with pytest.raises(StoreCorrupt):
        open_store(tmp_path / "after" / "jobs.sqlite3")
    assert contents(tmp_path / "after") == before


def test_a_crash_leaves_every_accepted_job(tmp_path: Path, open_store: Open) -> None:
    store = open_store(tmp_path / "jobs.sqlite3")
    job = insert(store, "in the log")
    crash(tmp_path, tmp_path / "after")
    assert open_store(tmp_path / "after" / "jobs.sqlite3").get("in the log") == job


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_log_without_its_database_is_not_thrown_away(tmp_path: Path, open_store: Open, is_missing: bool) -> None:
    store = open_store(tmp_path / "jobs.sqlite3")
    insert(store, "in the log")
    crash(tmp_path, tmp_path / "after")
    path = tmp_path / "after" / "jobs.sqlite3"
    path.unlink()
    if not is_missing:
        path.touch()
    before = contents(tmp_path / "after")
    with pytest.raises(StoreCorrupt):
        open_store(path)
    assert contents(tmp_path / "after") == before


def test_a_database_of_a_newer_darkroom_is_refused_and_left_as_it_is(tmp_path: Path, open_store: Open) -> None:
    path = tmp_path / "jobs.sqlite3"
    make(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match=r"newer Darkroom.*999.*upgrade"):
        open_store(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path, open_store: Open) -> None:
    path = tmp_path / "jobs.sqlite3"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipe (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another program"):
        open_store(path)
    assert path.read_bytes() == before


def test_a_folder_is_no_database(tmp_path: Path, open_store: Open) -> None:
    with pytest.raises(StoreUnavailable):
        open_store(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, open_store: Open) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="file"):
        open_store(tmp_path / "file" / "jobs.sqlite3")


def test_a_missing_folder_is_made(tmp_path: Path, open_store: Open) -> None:
    insert(open_store(tmp_path / "a" / "b" / "jobs.sqlite3"), "x")
    assert (tmp_path / "a" / "b" / "jobs.sqlite3").is_file()


def test_a_database_taken_away_in_use_takes_no_more_jobs(tmp_path: Path, open_store: Open) -> None:
    store = open_store(tmp_path / "jobs.sqlite3")
    (tmp_path / "jobs.sqlite3").rename(tmp_path / "elsewhere.sqlite3")
    with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
        insert(store, "lost")
    with pytest.raises(StoreUnavailable):
        store.check()


# Errors of SQLite's own, each made for real


def write_read_only(path: Path) -> None:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        db.execute("DELETE FROM job")


def fill_up(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA max_page_count = 1")
        db.execute("CREATE TABLE more (x)")


def open_nothing(path: Path) -> None:
    sqlite3.connect(f"{path.as_uri()}-none?mode=ro", uri=True).close()


def ask_for_no_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT * FROM missing")


@pytest.mark.parametrize(
    ("do", "code", "words"),
    [
        (write_read_only, "store_unavailable", "cannot be written"),
        (fill_up, "store_unavailable", "disk is full"),
        (open_nothing, "store_unavailable", "cannot be opened"),
        (ask_for_no_table, "internal", "no such table"),
    ],
)
def test_sqlites_errors_have_our_names(tmp_path: Path, do: Callable[[Path], None], code: str, words: str) -> None:
    path = tmp_path / "jobs.sqlite3"
    make(path, 1)
    with pytest.raises(DarkroomError, match=words) as caught, naming_errors(path):
        do(path)
    assert caught.value.code == code
    if code == "store_unavailable":  # which clients are told
        assert str(tmp_path) not in caught.value.message
        assert str(path) in caught.value.__notes__[0]


def test_a_database_held_too_long_is_unavailable_and_unchanged(
    tmp_path: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.jobs.sqlite_database.BUSY_S", 0.05)
    store = open_store(tmp_path / "jobs.sqlite3")
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another process"):
            insert(store, "x")
        assert store.get("x") is None  # readers wait for nobody
        holder.execute("ROLLBACK")
    assert insert(store, "x") == store.get("x")


# Saving what can be read


@pytest.mark.parametrize("page", [2, 5, 40, -2])
def test_what_can_be_read_is_saved_from_a_damaged_database(tmp_path: Path, open_store: Open, page: int) -> None:
    old, new = tmp_path / "jobs.sqlite3", tmp_path / "new" / "jobs.sqlite3"
    names = make(old, 60)
    store = open_store(old)
    whole = {name: store.get(name) for name in names}
    store.close()
    with old.open("r+b") as file:
        file.seek(page * 4096, 0 if page > 0 else 2)
        file.write(b"\xa5" * 4096)
    before = old.read_bytes()
    command = [sys.executable, "-m", "darkroom.jobs.sqlite_salvage", str(old), str(new)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert old.read_bytes() == before
    saved = open_store(new)
    there = {name: job for name in names if (job := saved.get(name)) is not None}
    assert len(there) >= 50
    assert all(job == whole[name] for name, job in there.items())
    assert f"{len(there)} of job" in run.stdout
    saved.claim(Claimant("w", ("m",)), 5, NOW)  # and it goes on from there


def test_nothing_is_saved_over_what_is_there(tmp_path: Path) -> None:
    make(tmp_path / "a.sqlite3", 1)
    make(tmp_path / "b.sqlite3", 1)
    with pytest.raises(StoreUnavailable, match="there already"):
        salvage(tmp_path / "a.sqlite3", tmp_path / "b.sqlite3")
    with pytest.raises(StoreUnavailable, match="not there"):
        salvage(tmp_path / "none.sqlite3", tmp_path / "c.sqlite3")


# Schema


def schema_of(db: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Everything in the schema, by name; a column that a migration adds stands on the line of the one before."""
    found = db.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return sorted((kind, name, "".join(sql.split())) for kind, name, sql in found)


def test_migrating_from_nothing_gives_the_schema(tmp_path: Path) -> None:
    make(tmp_path / "jobs.sqlite3", 0)
    with (
        closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as migrated,
        closing(sqlite3.connect(":memory:")) as written,
    ):
        written.executescript((FOLDER / "schema.sql").read_text(encoding="utf-8"))
        assert schema_of(migrated) == schema_of(written)
        rows = "SELECT * FROM pulse"
        assert migrated.execute(rows).fetchall() == written.execute(rows).fetchall()
        assert migrated.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
        assert migrated.execute("PRAGMA application_id").fetchone() == (JOBS_KIND,)


def test_each_migration_splits_into_whole_statements() -> None:
    for script in migrations():
        statements = list(split(script))
        assert all(sqlite3.complete_statement(statement) for statement in statements)
        assert "".join(statements).split() == script.split()


def test_jobs_are_written_through_to_the_disk_and_events_are_not(tmp_path: Path, open_store: Open) -> None:
    open_store(tmp_path / "jobs.sqlite3")
    for name, level in (("jobs.sqlite3", "FULL"), ("jobs-events.sqlite3", "OFF")):
        database = Database(tmp_path / name, "FULL" if level == "FULL" else "OFF")
        with database.writing() as db:
            assert db.execute("PRAGMA synchronous").fetchone()[0] == {"FULL": 2, "OFF": 0}[level]
            assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        database.close()


# The event database may go


LOSSES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "no database": lambda path: path.write_bytes(b"no database" * 999),
    "cut short": cut_short,
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_event_file_costs_events_and_no_job(tmp_path: Path, open_store: Open, loss: str) -> None:
    path = tmp_path / "jobs.sqlite3"
    store = open_store(path)
    job = insert(store, "x")
    last = store.events("x", 0)[-1].seq
    store.close()
    LOSSES[loss](tmp_path / "jobs-events.sqlite3")
    again = open_store(path)
    assert again.get("x") == job
    again.cancel("x", NOW)
    events = again.events("x", 0)
    assert events[-1].type == "cancelled"
    assert all(event.seq > last for event in events)  # who had read to `last` misses nothing that is there


@pytest.mark.parametrize("is_damaged", [True, False])
def test_an_event_file_lost_in_use_is_made_anew(tmp_path: Path, open_store: Open, is_damaged: bool) -> None:
    store, other = open_store(tmp_path / "jobs.sqlite3"), open_store(tmp_path / "jobs.sqlite3")
    insert(store, "before")
    reached, _ = store.tail(None, 0.0)
    for suffix in ("", "-wal", "-shm"):
        file = tmp_path / f"jobs-events.sqlite3{suffix}"
        if is_damaged:
            file.write_bytes(b"\xa5" * file.stat().st_size)
        else:
            file.unlink()
    insert(store, "after")
    assert [event.type for event in other.events("after", 0)] == ["queued"]
    _, noted = other.tail(reached, 0.0)
    assert [one.job_id for one in noted][-1] == "after"
    (job,) = other.claim(Claimant("w", ("m",)), 1, NOW)
    assert job.id == "before"
    assert [event.type for event in store.events("before", reached)] == ["started"]


def test_an_event_file_of_another_version_is_made_anew(tmp_path: Path, open_store: Open) -> None:
    make(tmp_path / "jobs.sqlite3", 2)
    with closing(sqlite3.connect(tmp_path / "jobs-events.sqlite3")) as db:
        db.execute("PRAGMA user_version = 999")
    store = open_store(tmp_path / "jobs.sqlite3")
    assert store.get("job-0") is not None
    store.cancel("job-0", NOW)
    assert store.events("job-0", 0)[-1].type == "cancelled"


# Drives


def test_a_drive_in_memory_is_a_risk_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    part = type(psutil.disk_partitions(all=True)[0])

    def mounts(kind: str) -> None:
        found = [part("x", "/", "ext4", ""), part("x", str(tmp_path), kind, "")]
        monkeypatch.setattr(psutil, "disk_partitions", lambda **_: found)

    mounts("tmpfs")
    assert "every job is lost" in place_risks(tmp_path / "jobs.sqlite3")[0]
    mounts("nfs4")
    assert "network drive" in place_risks(tmp_path / "a" / "jobs.sqlite3")[0]
    mounts("ext4")
    assert place_risks(tmp_path / "jobs.sqlite3") == []

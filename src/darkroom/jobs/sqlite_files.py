"""Opening the two files of a SQLite store: looked at before they are touched, made or migrated, or refused."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from ..errors import StoreCorrupt, StoreUnavailable
from .sqlite_database import Database, examine
from .sqlite_statements import event_schema, migrations, split

OLDEST_SQLITE = (3, 37, 0)  # the first with STRICT tables
JOBS_KIND = 0x4461726B  # application_id, "Dark"
EVENTS_KIND = 0x44617265  # "Dare"
EVENTS_VERSION = 1
NETWORK_DRIVES = {"nfs", "nfs4", "cifs", "smb", "smb2", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph", "afs"}
MEMORY_DRIVES = {"tmpfs", "ramfs"}


def open_jobs(path: Path) -> Database:
    """The job database, made or migrated as needed.

    Raises `StoreCorrupt` where it is damaged, and `StoreUnavailable` where it belongs to another program or a newer
    Darkroom or cannot be used; the file is as it was then, byte for byte.
    """
    _check_sqlite(path)
    check_jobs(path)
    database = Database(path, "FULL")
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def open_events(path: Path, jobs: Database) -> Database:
    """The event database, made anew where it is missing, damaged or of another version.

    The job database's write lock is held meanwhile, so that one process at a time makes it. A whole file is examined
    before: that takes as long as it is large.
    """
    is_good = _is_event_file(path)
    with jobs.writing() as db:
        noted = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        if not is_good and not _is_event_file(path):  # nor has another process made it anew meanwhile
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        database = Database(path, "OFF")
        try:
            _begin_events(database, noted[0] if noted else 0)
        except BaseException:
            database.close()
            raise
    return database


def place_risks(path: Path) -> list[str]:
    """What the drive under the path may do to a database."""
    kind = _drive(path)
    if kind in NETWORK_DRIVES:
        return [f"The job database {path} lies on a network drive ({kind}), where SQLite's locks may fail."]
    if kind in MEMORY_DRIVES:
        return [f"The job database {path} lies in memory ({kind}): when the machine restarts, every job is lost."]
    return []


def _check_sqlite(path: Path) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise StoreUnavailable(
            f"the database {path} needs SQLite {wanted} or newer; this Python has {sqlite3.sqlite_version}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the folder {path.parent} cannot be made: {error.strerror}") from error


def check_jobs(path: Path) -> None:
    """Look at the file without changing it; raises what `open_jobs` raises."""
    kind, version, has_tables = examine(path)
    if has_tables and kind != JOBS_KIND:
        raise StoreUnavailable(f"{path} is the database of another program; choose another file for serve.store")
    if version > len(migrations()):
        raise StoreUnavailable(
            f"the database {path} was written by a newer Darkroom (schema {version}, this one knows "
            f"{len(migrations())}): upgrade Darkroom, or put back the backup made before the upgrade"
        )


def _migrate(database: Database) -> None:
    """Run the migrations that are missing, all in one transaction: it is the old schema or the new one."""
    with database.writing() as db:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        missing = migrations()[version:]
        for script in missing:
            for statement in split(script):
                db.execute(statement)
        if missing:
            db.execute(f"PRAGMA application_id = {JOBS_KIND}")
            db.execute(f"PRAGMA user_version = {len(migrations())}")


def _is_event_file(path: Path) -> bool:
    try:
        kind, version, _ = examine(path)
    except StoreCorrupt:
        return False
    return (kind, version) == (EVENTS_KIND, EVENTS_VERSION)


def _begin_events(database: Database, noted: int) -> None:
    """Make the tables where there are none, and number on from the clock; the job database has noted so many events.

    A power cut or a lost file takes the latest numbers with it, and a client may have seen them. Microseconds since the
    epoch are past any number given out before, as long as fewer than a million events happen in a second; they stay
    below 2^53, up to which JavaScript counts exactly, until the year 2255.
    """
    with database.writing() as db:
        if not int(db.execute("PRAGMA user_version").fetchone()[0]):
            for statement in split(event_schema()):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {EVENTS_KIND}")
            db.execute(f"PRAGMA user_version = {EVENTS_VERSION}")
            db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('event', 0)")
        db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'event'", (int(time.time() * 1e6),))
        # A job database put back from a backup counts on from there: what it notes from now on has not been told.
        db.execute("UPDATE tide SET delivered = min(delivered, ?)", (noted,))


def _drive(path: Path) -> str:
    """The file system under the path, or '' where it cannot be told."""
    import psutil  # not needed to serve, and slow to load

    whole = path.absolute()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[folder] for folder in whole.parents if folder in mounts), "")

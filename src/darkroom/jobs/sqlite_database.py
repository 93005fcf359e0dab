"""One SQLite file in WAL mode: one writer, readers apart, and SQLite's errors under our names."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from ..errors import DarkroomError, InvariantBroken, StoreCorrupt, StoreUnavailable
from .sqlite_bell import Bell

BUSY_S = 30.0  # how long another process may hold the write lock before we give up
BUSY_TURN_S = 0.001  # between two tries: SQLite's own back-off grows to 100 ms, which a client would feel
READ_BUSY_S = 10.0  # readers wait only while a crashed writer's log is being recovered
KEPT_READERS = 16  # idle connections kept for the next reader

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: f"another process has held it for {BUSY_S:.0f} s",
    sqlite3.SQLITE_LOCKED: "it is locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_PERM: "this user may not use it",
    sqlite3.SQLITE_IOERR: "the disk refuses",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work; is it on a network drive?",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
}
Synchronous = Literal["FULL", "OFF"]


class Database:
    """A file that several threads and processes share.

    The writer takes SQLite's write lock at the beginning of a transaction, never in its middle, where it could fail.
    Readers see the last commit and wait for nobody.
    """

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self.path = path
        self._synchronous = synchronous
        self._lock = threading.Lock()  # of the writer, among threads
        self._holder: int | None = None  # the thread inside `writing`
        self._idle: list[sqlite3.Connection] = []  # readers that nobody uses; append and pop are atomic
        self._is_closed = False
        self._bell = Bell(path)
        with naming_errors(path):
            self._writer = self._connect(BUSY_TURN_S)
            self._switch_to_wal()
        self._identity = _identity(path)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction under the write lock: committed at the end, rolled back where anything is raised."""
        assert self._holder != threading.get_ident(), "one transaction at a time: this one would wait for itself"
        with self._lock, naming_errors(self.path):
            self.check_in_place()
            self._begin()
            self._holder = threading.get_ident()
            try:
                yield self._writer
                self._writer.execute("COMMIT")
                self._bell.ring()
            finally:
                self._holder = None
                if self._writer.in_transaction:  # SQLite itself rolls back on some errors
                    self._writer.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading: each statement sees the last commit."""
        with naming_errors(self.path):
            reader = self._borrow()
            try:
                yield reader
            finally:
                self._give_back(reader)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading: all statements see the same commit."""
        with self.reading() as reader:
            reader.execute("BEGIN")
            try:
                yield reader
            finally:
                reader.execute("COMMIT")

    def await_commit(self, reader: sqlite3.Connection, version: int, until: float) -> int:
        """The reader's data version once it is another one; the same where the time (`time.monotonic`) is up, or the
        file is no longer in place."""
        with self._bell.hearing() as wait:
            while (latest := data_version(reader)) == version:
                left_s = until - time.monotonic()
                if left_s <= 0 or not self.is_in_place():
                    break
                wait(left_s)
            return latest

    def is_in_place(self) -> bool:
        """Whether the path still leads to the file that is open here."""
        return not self._is_closed and _identity(self.path) == self._identity

    def check_in_place(self) -> None:
        """Raise `StoreUnavailable` where it is closed, or the file moved: what is written there would be lost."""
        if self._is_closed:
            raise unavailable(self.path, "the job store is closed")
        if not self.is_in_place():
            said = "the job store's file was moved, deleted or replaced while Darkroom was using it"
            raise unavailable(self.path, f"{said}: put it back, or restart Darkroom")

    def close(self) -> None:
        """Close every connection; the last process to leave folds the log into the file."""
        self._is_closed = True
        with self._lock:
            self._writer.close()
        while self._idle:
            self._idle.pop().close()
        self._bell.close()

    def _connect(self, busy_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: its plain fsync leaves data in the drive's cache
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection

    def _switch_to_wal(self) -> None:
        """Several processes may open a new file at once, and SQLite waits for no lock here."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                mode = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                assert mode == "wal", mode
                return
            except sqlite3.OperationalError as error:
                _sleep_if_busy(error, until)

    def _begin(self) -> None:
        until = time.monotonic() + BUSY_S
        while True:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                _sleep_if_busy(error, until)

    def _borrow(self) -> sqlite3.Connection:
        if self._is_closed:
            raise unavailable(self.path, "the job store is closed")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect(READ_BUSY_S)

    def _give_back(self, reader: sqlite3.Connection) -> None:
        if self._is_closed or len(self._idle) >= KEPT_READERS:
            reader.close()
        else:
            self._idle.append(reader)


def data_version(db: sqlite3.Connection) -> int:
    """A number that changes when another connection has committed; microseconds, no disk."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise named(error, path) from error


def named(error: sqlite3.Error, path: Path) -> DarkroomError:
    """SQLite's error in our words."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
    if code in DAMAGED:
        return damaged(path, str(error))
    if code in UNAVAILABLE:
        return unavailable(path, f"the job store cannot be used: {UNAVAILABLE[code]}; nothing was changed", str(error))
    if "closed database" in str(error):
        return unavailable(path, "the job store is closed")
    return InvariantBroken(f"the database {path} refuses what it was asked: {error}")


def unavailable(path: Path, said: str, why: str = "") -> StoreUnavailable:
    """The error for clients, with a note for logs: they need not know where, nor what SQLite said."""
    error = StoreUnavailable(said)
    error.add_note(f"store: {path}{': ' if why else ''}{why}")
    return error


def damaged(path: Path, problem: str) -> StoreCorrupt:
    """The error for a file that cannot be trusted, with the way out."""
    return StoreCorrupt(
        f"the database {path} is damaged: {problem}. Darkroom left it as it is. To recover, stop Darkroom and move "
        f"{path.name}, {path.name}-wal and {path.name}-shm away together; then put a backup in their place, or save "
        f"what can be read with: python -m darkroom.jobs.sqlite_salvage MOVED {path}"
    )


def examine(path: Path) -> tuple[int, int, bool]:
    """The file's application id, version and whether it holds tables; reads only, and changes no byte of it.

    Raises `StoreCorrupt` where SQLite finds damage.
    """
    log = path.with_name(f"{path.name}-wal")
    if _size(path) == 0 and _size(log) > 0:
        # SQLite would take the file for a new one, and delete the log: the only thing that is left of it.
        raise damaged(path, f"the file is empty or missing, but its log {log.name} is there")
    if _size(path) == 0:
        return 0, 0, False
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with naming_errors(path), closing(sqlite3.connect(uri, uri=True, timeout=READ_BUSY_S)) as db:
        problem = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
        if problem != "ok":
            raise damaged(path, problem)
        kind = int(db.execute("PRAGMA application_id").fetchone()[0])
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        return kind, version, db.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None


def _sleep_if_busy(error: sqlite3.OperationalError, until: float) -> None:
    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
        raise error
    time.sleep(BUSY_TURN_S)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file the path leads to, or None."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

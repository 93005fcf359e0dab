"""The event database of a SQLite store: frequent, not durable, and rebuilt empty where it is damaged.

Events of transitions reach it through the job database's outbox, so that a process that dies between the two commits
loses none: whoever comes next takes over what was left. Steps are written here alone, and wait for no disk.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..core import Event, Lease
from ..errors import StoreCorrupt, StoreUnavailable
from .rows import Row, dump, event_of, progress_data
from .sqlite_database import Database, data_version
from .sqlite_files import open_events
from .sqlite_statements import first, run
from .store import FETCH_LIMIT, Noted, StepDone

KEEP_FLEETING_S = 3600.0  # progress and previews are for those who watch
THIN_LIMIT = 10 * FETCH_LIMIT
THIN_S = 5.0  # the longest that they are forgotten at a stretch

T = TypeVar("T")


class Events:
    """What happened, beside the jobs."""

    def __init__(self, path: Path, jobs: Database) -> None:
        self._path = path
        self._jobs = jobs
        self._lock = threading.Lock()  # of renewal
        self._database = open_events(path, jobs)
        self.delivered = 0  # how far this process knows the outbox to have been taken over

    def deliver(self) -> None:
        """Take over what waits in the outbox, in the order of transitions, whichever process left it there.

        The transition is durable by now, so that a full disk must not fail it: its event waits for the next one.
        """
        with suppress(StoreUnavailable):
            self.delivered = self._do(self._take_over)

    def _take_over(self, database: Database) -> int:
        with database.writing() as db, self._jobs.reading() as jobs:
            seen = run(db, "delivered")[0]["delivered"]
            waiting = run(jobs, "outbox", after=seen)
            for row in waiting:
                run(db, "add_event", job_id=row["job_id"], at=row["at"], type=row["type"], data=row["data"])
            if waiting:
                seen = waiting[-1]["id"]
                run(db, "set_delivered", id=seen)
            return int(seen)

    def report_steps(self, done: Sequence[StepDone]) -> list[Lease]:
        """Note steps of claims that hold; those that do not."""

        def note(database: Database) -> list[Lease]:
            with database.writing() as db:
                # Under the lock: the events of a transition that ends a claim can only come after these.
                held = self._held([one.lease for one in done])
                for one in done:
                    if one.lease in held:
                        _note_step(db, one)
            return [one.lease for one in done if one.lease not in held]

        return self._do(note)

    def _held(self, leases: Sequence[Lease]) -> set[Lease]:
        with self._jobs.reading() as jobs:
            found = run(jobs, "fences", ids=dump([lease.job_id for lease in leases]))
        return {Lease(row["id"], row["fence"]) for row in found} & set(leases)

    def progress(self, job_ids: Sequence[str]) -> dict[str, Row]:
        """The latest reported step of each job that has one."""

        def look(database: Database) -> dict[str, Row]:
            with database.reading() as db:
                return {row["job_id"]: row for row in run(db, "progress", ids=dump(job_ids))}

        return self._do(look) if job_ids else {}

    def of_job(self, job_id: str, after: int) -> list[Event]:
        """A job's events after a number."""

        def look(database: Database) -> list[Event]:
            with database.reading() as db:
                return [event_of(row) for row in run(db, "events_of", job_id=job_id, after=after, limit=FETCH_LIMIT)]

        return self._do(look)

    def tail(self, after: int | None, timeout_s: float) -> tuple[int, list[Noted]]:
        """All events after a number; waits for some."""
        until = time.monotonic() + timeout_s
        start = self._do(_reached) if after is None else after
        while True:
            noted = self._do(lambda database: _await_events(database, start, until))
            if noted or time.monotonic() >= until:
                return (noted[-1].event.seq if noted else start), noted

    def forget(self, job_ids: Sequence[str]) -> None:
        """Forget what happened to these jobs."""

        def forget(database: Database) -> None:
            with database.writing() as db:
                run(db, "forget_events", ids=dump(job_ids))
                run(db, "forget_progress", ids=dump(job_ids))

        if job_ids:
            self._do(forget)

    def thin(self, now: float) -> None:
        """Forget progress and previews that are old: some at once, so that others may write in between."""

        def forget(database: Database) -> int:
            with database.writing() as db:
                before = db.total_changes
                run(db, "thin", before=now - KEEP_FLEETING_S, limit=THIN_LIMIT)
                return db.total_changes - before

        until = time.monotonic() + THIN_S
        while self._do(forget) == THIN_LIMIT and time.monotonic() < until:
            pass

    def lead(self, who: str, now: float, ttl_s: float) -> bool:
        """Whether `who` reigns."""

        def ask(database: Database) -> bool:
            with database.writing() as db:
                return first(db, "lead", who=who, now=now, ttl_s=ttl_s, margin_s=2 * ttl_s) is not None

        return self._do(ask)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _do(self, action: Callable[[Database], T]) -> T:
        """Do it; where the file proves damaged, once more on a new one."""
        database = self._in_place()
        try:
            return action(database)
        except StoreCorrupt:
            return action(self._renewed(database))

    def _in_place(self) -> Database:
        """The database; opened again where another process has made it anew."""
        database = self._database
        if database.is_in_place():
            return database
        self._jobs.check_in_place()  # closed, or the whole folder is gone: that is no time to make files
        return self._renewed(database)

    def _renewed(self, old: Database) -> Database:
        with self._lock:
            if self._database is old:
                old.close()
                self._database = open_events(self._path, self._jobs)
            return self._database


def _note_step(db: sqlite3.Connection, done: StepDone) -> None:
    job_id = done.lease.job_id
    run(db, "set_progress", job_id=job_id, fence=done.lease.fence, step=done.step, steps=done.steps)
    progress = dump(progress_data(done.step, done.steps))
    run(db, "add_event", job_id=job_id, at=done.at, type="progress", data=progress)
    if done.preview is not None:
        run(db, "forget_preview", job_id=job_id)
        shown = dump({"step": done.step, "image": done.preview})
        run(db, "add_event", job_id=job_id, at=done.at, type="preview", data=shown)


def _reached(database: Database) -> int:
    with database.reading() as db:
        return int(run(db, "reached")[0]["seq"])


def _await_events(database: Database, after: int, until: float) -> list[Noted]:
    """The events after a number; returns empty-handed when time is up, or the file is no longer the one in place."""
    with database.reading() as db:
        while True:
            version = data_version(db)  # before the look: what comes after it changes the version
            rows = run(db, "events_after", after=after, limit=FETCH_LIMIT)
            if rows:
                return [Noted(row["job_id"], event_of(row)) for row in rows]
            if database.await_commit(db, version, until) == version:
                return []

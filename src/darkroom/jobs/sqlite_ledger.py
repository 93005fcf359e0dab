"""The files of a SQLite store, and the verbs beside jobs: keys, usage, webhooks, room (ledger.py)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core import ApiKey, Artifact, Charge, Delivery, Usage, WebhookSecret, WorkerTime
from ..errors import Conflict
from . import sqlite_dues as dues
from . import sqlite_transitions as transitions
from .ledger import ATTEMPTS_KEPT, MOST_DEADLINES, UNUSED_S, Line
from .rows import artifact_of, charge_of, delivery_of, dump, key_of, time_of, values_of_key
from .sqlite_events import Events
from .sqlite_files import open_jobs
from .sqlite_statements import first, run
from .store import FETCH_LIMIT


class SqliteLedger:
    """Jobs in one file, events in a second one beside it; `ledger.Ledger` says what each verb promises."""

    def __init__(self, path: Path) -> None:
        self._jobs = open_jobs(path)
        try:
            self._events = Events(path.with_name(f"{path.stem}-events{path.suffix}"), self._jobs)
        except BaseException:
            self._jobs.close()
            raise
        self._events.deliver()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transition: its transaction, and then its events to those who listen."""
        with self._jobs.writing() as db:
            before = db.total_changes
            yield db
            if db.total_changes != before:
                run(db, "empty_outbox", id=self._events.delivered)
        self._events.deliver()

    # Keys.

    def add_key(self, key: ApiKey) -> None:
        with self._jobs.writing() as db:
            if first(db, "add_key", **values_of_key(key)) is None:
                raise Conflict(f"there is a key {key.id} already", field="id")

    def keys(self) -> list[ApiKey]:
        with self._jobs.reading() as db:
            return [key_of(row) for row in run(db, "keys")]

    def revoke_key(self, key_id: str, now: float) -> ApiKey | None:
        with self._jobs.writing() as db:
            row = first(db, "revoke_key", id=key_id, now=now)
            return None if row is None else key_of(row)

    # Usage.

    def usage(self, key_id: str, now: float) -> Usage:
        with self._jobs.snapshot() as db:
            spent = dues.used_today(db, key_id, now)
            return Usage(dues.live_jobs(db, key_id), *spent, dues.next_job_at(db, key_id, now))

    # Webhooks.

    def due_deliveries(self, now: float, limit: int, hold_s: float) -> list[Delivery]:
        limit = min(limit, FETCH_LIMIT)
        with self._jobs.reading() as db:  # most looks find nothing, and need no lock for it
            if not run(db, "due_deliveries", now=now, limit=limit):
                return []
        with self._jobs.writing() as db:
            due = run(db, "due_deliveries", now=now, limit=limit)
            return [delivery_of(run(db, "hold_delivery", id=one["id"], until=now + hold_s)[0]) for one in due]

    def note_delivery(
        self, delivery_id: str, attempt: Mapping[str, Any], next_at: float | None, *, is_delivered: bool
    ) -> Delivery | None:
        noted = {
            "attempt": dump(dict(attempt)),
            "next_at": next_at,
            "is_delivered": is_delivered,
            "most": ATTEMPTS_KEPT,
        }
        with self._jobs.writing() as db:
            row = first(db, "note_delivery", id=delivery_id, **noted)
            return None if row is None else delivery_of(row)

    def deliveries(self, job_id: str) -> list[Delivery]:
        with self._jobs.reading() as db:
            return [delivery_of(row) for row in run(db, "deliveries", job_id=job_id)]

    def webhook_secret(self, tenant: str) -> WebhookSecret:
        with self._jobs.reading() as db:
            return _secret_of(db, tenant)

    def rotate_webhook_secret(self, tenant: str, known: int, now: float) -> WebhookSecret:
        with self._jobs.writing() as db:
            if _secret_of(db, tenant).number == known:
                run(db, "rotate_webhook_secret", tenant=tenant, number=known + 1, now=now)
            return _secret_of(db, tenant)

    # Room.

    def stored_bytes(self) -> int:
        with self._jobs.reading() as db:
            return int(run(db, "stored_bytes")[0]["stored_bytes"])

    def uploaded_bytes(self, tenant: str, *, is_prefix: bool = False) -> int:
        with self._jobs.reading() as db:
            if is_prefix:
                row = first(db, "uploaded_bytes_of_all", tenant=tenant)
            else:
                row = first(db, "uploaded_bytes", tenant=tenant)
            return 0 if row is None else int(row["bytes"])

    def prune_bytes(self, most_bytes: int, now: float) -> list[Artifact]:
        if self.stored_bytes() <= most_bytes:
            return []
        forgotten: list[str] = []
        with self._changing() as db:
            gone = _unused_uploads_gone(db, most_bytes, now)
            for row in run(db, "ended_with_artifacts", limit=FETCH_LIMIT):
                if run(db, "stored_bytes")[0]["stored_bytes"] <= most_bytes:
                    break
                gone += [artifact_of(one) for one in run(db, "artifacts_of", ids=dump([row["id"]]))]
                forgotten.append(row["id"])
                transitions.forget(db, row)
        self._events.forget(forgotten)
        return gone

    # Time and money.

    def worker_times(self, since_day: int) -> list[WorkerTime]:
        with self._jobs.reading() as db:
            return [time_of(row["worker"], json.loads(row["said"])) for row in run(db, "worker_times", since=since_day)]

    def charges(self, since_day: int) -> list[Charge]:
        with self._jobs.reading() as db:
            return [charge_of(row) for row in run(db, "charges", since=since_day)]

    # Who looks on.

    def watch(self, until: float) -> None:
        with self._jobs.writing() as db:
            run(db, "watch", until=until)

    def is_watched(self, now: float) -> bool:
        with self._jobs.reading() as db:
            return bool(run(db, "watched_until")[0]["watched_until"] > now)

    # The fleet.

    def lines(self) -> list[Line]:
        with self._jobs.snapshot() as db:
            found, dues = run(db, "lines"), run(db, "line_deadlines", limit=MOST_DEADLINES)
        deadlines: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for due in dues:
            deadlines.setdefault((due["model"], due["level"]), []).append((due["deadline_at"], due["cost_s"]))
        return [Line(**dict(row), deadlines=tuple(deadlines.get((row["model"], row["level"]), ()))) for row in found]

    def lead_fleet(self, who: str, now: float, ttl_s: float) -> bool:
        with self._jobs.writing() as db:
            return first(db, "lead_fleet", who=who, now=now, ttl_s=ttl_s, margin_s=2 * ttl_s) is not None

    def note_fleet(self, note: Mapping[str, Any]) -> None:
        with self._jobs.writing() as db:
            run(db, "note_fleet", note=dump(dict(note)))

    def fleet_note(self) -> Mapping[str, Any]:
        with self._jobs.reading() as db:
            note: Mapping[str, Any] = json.loads(run(db, "fleet_note")[0]["note"])
        return note


def _secret_of(db: sqlite3.Connection, tenant: str) -> WebhookSecret:
    row = first(db, "webhook_secret", tenant=tenant)
    return WebhookSecret() if row is None else WebhookSecret(row["number"], row["rotated_at"])


def _unused_uploads_gone(db: sqlite3.Connection, most_bytes: int, now: float) -> list[Artifact]:
    gone: list[Artifact] = []
    for row in run(db, "old_uploads", before=now - UNUSED_S, limit=FETCH_LIMIT):
        if run(db, "stored_bytes")[0]["stored_bytes"] <= most_bytes:
            break
        gone += [artifact_of(one) for one in run(db, "forget_artifact", id=row["id"])]
    return gone

"""The verbs beside jobs on Redis: keys, usage, webhooks, room; docs/architecture/03-redis.md has their keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..core import PRIORITY_STEPS, ApiKey, Artifact, Charge, Delivery, Usage, WebhookSecret, WorkerTime
from ..errors import Conflict
from . import redis_rows
from .allowances import day_of, wait_s
from .ledger import ATTEMPTS_KEPT, MOST_DEADLINES, UNUSED_S, Line
from .redis_link import Link, token
from .rows import dump
from .store import FETCH_LIMIT

LOOK = 100  # final jobs looked at, and perhaps forgotten, in one script
LINE_LOOK = 500  # queued jobs counted in one script


class RedisLedger:
    """The verbs of `Ledger` over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    # Keys.

    def add_key(self, key: ApiKey) -> None:
        """See `Ledger`."""
        revoked_at = "" if key.revoked_at is None else key.revoked_at
        if not self._link.run("add_key", key.id, key.created_at, redis_rows.key_line(key), revoked_at, token()):
            raise Conflict(f"there is a key {key.id} already", field="id")

    def keys(self) -> list[ApiKey]:
        """See `Ledger`."""
        return [redis_rows.key_of(values) for values in self._link.run("keys")]

    def revoke_key(self, key_id: str, now: float) -> ApiKey | None:
        """See `Ledger`."""
        values = self._link.run("revoke_key", key_id, now)
        return None if values is None else redis_rows.key_of(values)

    # Usage.

    def usage(self, key_id: str, now: float) -> Usage:
        """See `Ledger`."""
        key = self._link.key
        live, spent, rate = self._link.call_all(
            ("SCARD", key("live", key_id)),
            ("HMGET", key("usage", key_id, str(day_of(now))), "device", "usd"),
            ("HMGET", key("rate", key_id), "arrival_at", "interval_s"),
        )
        device_s, usd = (max(0, int(value or 0)) / 1e9 for value in spent)
        left_s = wait_s(float(rate[0]), float(rate[1]), now) if rate[0] else 0.0
        return Usage(int(live), device_s, usd, now + left_s if left_s else 0.0)

    # Webhooks.

    def due_deliveries(self, now: float, limit: int, hold_s: float) -> list[Delivery]:
        """See `Ledger`."""
        rows = self._link.run("due_deliveries", now, min(limit, FETCH_LIMIT), now + hold_s, token())
        return [redis_rows.delivery_of(row) for row in rows]

    def note_delivery(
        self, delivery_id: str, attempt: Mapping[str, Any], next_at: float | None, *, is_delivered: bool
    ) -> Delivery | None:
        """See `Ledger`."""
        words = (dump(dict(attempt)), "" if next_at is None else next_at, int(is_delivered), token(), ATTEMPTS_KEPT)
        row = self._link.run("note_delivery", delivery_id, *words)
        return redis_rows.delivery_of(row) if row else None

    def deliveries(self, job_id: str) -> list[Delivery]:
        """See `Ledger`."""
        return [redis_rows.delivery_of(row) for row in self._link.run("deliveries", job_id)]

    def webhook_secret(self, tenant: str) -> WebhookSecret:
        """See `Ledger`."""
        key = self._link.key("webhook_secret", tenant)
        return _secret_of(self._link.call("HMGET", key, "number", "rotated_at"))

    def rotate_webhook_secret(self, tenant: str, known: int, now: float) -> WebhookSecret:
        """See `Ledger`."""
        return _secret_of(self._link.run("rotate_webhook_secret", tenant, known, now))

    # Room.

    def stored_bytes(self) -> int:
        """See `Ledger`."""
        return int(self._link.run("stored_bytes"))

    def uploaded_bytes(self, tenant: str, *, is_prefix: bool = False) -> int:
        """See `Ledger`."""
        return int(self._link.run("uploaded_bytes", tenant, int(is_prefix)))

    def prune_bytes(self, most_bytes: int, now: float) -> list[Artifact]:
        """See `Ledger`."""
        lines = self._unused_uploads_gone(most_bytes, now)
        passed = forgotten = is_done = 0
        while not is_done and forgotten < FETCH_LIMIT:
            words = (most_bytes, passed, LOOK, FETCH_LIMIT - forgotten)
            is_done, kept, gone, removed = self._link.run("prune_bytes", *words)
            lines += removed
            passed += kept
            forgotten += gone
        return [redis_rows.artifact_of(line) for line in lines]

    def _unused_uploads_gone(self, most_bytes: int, now: float) -> list[str]:
        lines: list[str] = []
        passed = is_done = 0
        while not is_done and len(lines) < FETCH_LIMIT:
            words = (most_bytes, now - UNUSED_S, passed, LOOK, FETCH_LIMIT - len(lines))
            is_done, kept, removed = self._link.run("prune_uploads", *words)
            lines += removed
            passed += kept
        return lines

    # Time and money.

    def worker_times(self, since_day: int) -> list[WorkerTime]:
        """See `Ledger`."""
        found = (redis_rows.times_of_day(fields) for _, fields in self._of_days("times", since_day))
        return [time for times in found for time in times]

    def charges(self, since_day: int) -> list[Charge]:
        """See `Ledger`."""
        found = (redis_rows.charges_of_day(day, fields) for day, fields in self._of_days("charges", since_day))
        return [charge for charges in found for charge in charges]

    def _of_days(self, kind: str, since_day: int) -> list[tuple[int, Mapping[str, str]]]:
        """What is kept of each day since then."""
        days = self._link.call("ZRANGEBYSCORE", self._link.key("days"), since_day, "+inf")
        found = self._link.call_all(*(("HGETALL", self._link.key(kind, day)) for day in days)) if days else []
        return [(int(day), redis_rows.by_name(fields)) for day, fields in zip(days, found, strict=True)]

    # Who looks on.

    def watch(self, until: float) -> None:
        """See `Ledger`."""
        self._link.call("SET", self._link.key("watched_until"), until)

    def is_watched(self, now: float) -> bool:
        """See `Ledger`."""
        return float(self._link.call("GET", self._link.key("watched_until")) or 0.0) > now

    # The fleet.

    def lines(self) -> list[Line]:
        """See `Ledger`; read in parts, so what changes meanwhile may count or not."""
        dues: dict[tuple[str, int], list[tuple[float, float]]] = {}
        for model, level, at, cost_us in self._link.run("line_deadlines", MOST_DEADLINES):
            dues.setdefault((model, int(level)), []).append((float(at), int(cost_us) / 1e6))
        models = self._link.call("HKEYS", self._link.key("models"))
        found = (self._line(model, level, dues) for model in models for level in PRIORITY_STEPS.values())
        return [line for line in found if line.jobs]

    def _line(self, model: str, level: int, dues: Mapping[tuple[str, int], Sequence[tuple[float, float]]]) -> Line:
        jobs, cost_us, oldest_at, count = 0, 0, math.inf, LINE_LOOK
        while count == LINE_LOOK:
            count, cost, since = self._link.run("line", model, level, jobs, LINE_LOOK)
            jobs, cost_us = jobs + count, cost_us + int(cost)
            oldest_at = min(oldest_at, float(since or math.inf))
        return Line(model, level, jobs, cost_us / 1e6, oldest_at, tuple(dues.get((model, level), ())))

    def lead_fleet(self, who: str, now: float, ttl_s: float) -> bool:
        """See `Ledger`."""
        return bool(self._link.run("lead", who, now, ttl_s, "fleet"))

    def note_fleet(self, note: Mapping[str, Any]) -> None:
        """See `Ledger`."""
        self._link.call("SET", self._link.key("fleet"), dump(dict(note)))

    def fleet_note(self) -> Mapping[str, Any]:
        """See `Ledger`."""
        note: Mapping[str, Any] = json.loads(self._link.call("GET", self._link.key("fleet")) or "{}")
        return note


def _secret_of(values: Sequence[str | None]) -> WebhookSecret:
    number, rotated_at = values
    return WebhookSecret(int(number or 0), None if rotated_at is None else float(rotated_at))

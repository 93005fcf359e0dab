"""The verbs beside jobs that stand in the same database: keys, what each has used, webhooks that are to be told.

They are a part of `Store` (store.py): what a transition owes is written in the transaction of that transition.

    heartbeat --> worker_times                     an attempt's end --> charges
    insert --checks and reserves--> usage          a job's end --settles--> usage
    started, succeeded, failed, cancelled --its webhook asks for it--> delivery --sent--> delivered | given up
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..core import ApiKey, Artifact, Charge, Delivery, Usage, WebhookSecret, WorkerTime

UPLOAD_BYTES = 4096  # the block of a disk that the smallest takes; also in sql/ and lua/
UNUSED_S = 3600.0  # an upload is for a job that comes soon

ATTEMPTS_KEPT = 100  # of one webhook call
MOST_DEADLINES = 1000  # that `lines` tells of


@dataclass(frozen=True)
class Line:
    """Queued jobs of one model and class (`level`: the class's step): predicted device seconds of all, when the oldest
    was queued, and of those with a deadline the moment and the seconds of each, the earliest first."""

    model: str
    level: int
    jobs: int
    cost_s: float
    oldest_at: float
    deadlines: tuple[tuple[float, float], ...] = ()


class Ledger(Protocol):
    """Keys, usage, deliveries. `now` is seconds since the epoch, from the caller; each raises `StoreUnavailable`."""

    # Keys.

    def add_key(self, key: ApiKey) -> None:
        """Store a key; its id is new, or it is a `Conflict`."""

    def keys(self) -> list[ApiKey]:
        """Every key, revoked ones too, the oldest first."""

    def revoke_key(self, key_id: str, now: float) -> ApiKey | None:
        """From now on it opens nothing; the key as it is then, None where there is none. The first time stays."""

    # Usage: kept by the key that a job came with; jobs without one are not counted.

    def usage(self, key_id: str, now: float) -> Usage:
        """What the key has used by now: its live jobs, and today's device seconds and dollars.

        A day is one of UTC. A job's prediction (`cost_s`, `cost_usd`) is reserved on the day of its insert and, at its
        end, replaced there by what its metrics say (device_s, cost_usd: of all its attempts); a job that ended without
        them used none.
        """

    # Webhooks.

    def due_deliveries(self, now: float, limit: int, hold_s: float) -> list[Delivery]:
        """Up to `limit` pending deliveries whose time has come, the earliest first; nobody else is given them for
        `hold_s`."""

    def note_delivery(
        self, delivery_id: str, attempt: Mapping[str, Any], next_at: float | None, *, is_delivered: bool
    ) -> Delivery | None:
        """Append an attempt (JSON, with its time `at`); of more than `ATTEMPTS_KEPT` the first go. Delivered; else to
        be tried again at `next_at`, or given up where that is None; what was delivered stays so. None where its job
        has been deleted meanwhile."""

    def deliveries(self, job_id: str) -> list[Delivery]:
        """A job's deliveries with their attempts, the oldest first; they are forgotten with it."""

    def webhook_secret(self, tenant: str) -> WebhookSecret:
        """Which of its secrets the tenant's webhooks are signed with now."""

    def rotate_webhook_secret(self, tenant: str, known: int, now: float) -> WebhookSecret:
        """Go on to the next one after number `known`; where somebody else has done so meanwhile, nothing changes.

        Returns which it is then.
        """

    # Room.

    def stored_bytes(self) -> int:
        """The sizes of all artifacts together."""

    def uploaded_bytes(self, tenant: str, *, is_prefix: bool = False) -> int:
        """What the tenant's uploads take; each counts as `UPLOAD_BYTES` at least. `is_prefix`: those of all tenants
        whose names begin so."""

    def prune_bytes(self, most_bytes: int, now: float) -> list[Artifact]:
        """Forget the oldest uploads that no live job needs and that came `UNUSED_S` ago or more, and then the final
        jobs that ended first, until artifacts take at most that many bytes; at most `FETCH_LIMIT` of each at once.
        Returns the artifacts to remove. Other uploads and live jobs stay, whatever they take, and so do final jobs that
        hold no bytes."""

    # Time and money, by days of UTC; days further back than `COSTS_KEPT_DAYS` are forgotten by `prune`.

    def worker_times(self, since_day: int) -> list[WorkerTime]:
        """Where workers' time went since that day, as their heartbeats told it last: also of those that have ended."""

    def charges(self, since_day: int) -> list[Charge]:
        """What jobs took since that day; written in the transaction that ends an attempt, by its metrics. An attempt
        whose worker died has none, and is not among them. Deleted jobs still count. The tenant is `payer_of` it."""

    # Who looks on.

    def watch(self, until: float) -> None:
        """Somebody wants to see what workers do, until then."""

    def is_watched(self, now: float) -> bool:
        """Whether somebody does."""

    # The fleet.

    def lines(self) -> list[Line]:
        """The queue by model and class, with the `MOST_DEADLINES` earliest deadlines of all jobs that wait."""

    def lead_fleet(self, who: str, now: float, ttl_s: float) -> bool:
        """Whether `who` scales the fleet for the next `ttl_s`, as `lead` says who keeps the store; 0 gives it up."""

    def note_fleet(self, note: Mapping[str, Any]) -> None:
        """Tell all who ask what the fleet is to be; JSON (fleet/told.py says its shape), in place of the one before."""

    def fleet_note(self) -> Mapping[str, Any]:
        """What was last told of the fleet; empty where nobody scales it."""

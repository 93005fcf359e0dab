"""One webhook call: how it is signed, what it says, and how it is made. deliveries.py decides when and how often.

Signed as Standard Webhooks (https://www.standardwebhooks.com): `webhook-id` stays over all attempts, and
`webhook-signature` is HMAC-SHA256 over `id.timestamp.body` with the time of the attempt. The connection goes through
the guard on URLs (storage/guard.py): public addresses only, and to the address that was judged.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpcore

from ..core import Delivery, Job, WebhookSecret
from ..errors import BadInput, retry_after_s
from ..storage.guard import AGENT, Guard, NotPublic, NotReached, Resolver, check_literal, resolve
from .moments import rfc3339
from .signing import Signer

Told = Literal["started", "succeeded", "failed", "cancelled"]
STARTED: Told = "started"
FINAL: tuple[Told, ...] = ("succeeded", "failed", "cancelled")
SECRET_PREFIX = "whsec_"
OVERLAP_S = 24 * 3600.0  # for receivers to take over a new secret; all attempts at a call but the last come within it
MAX_URL = 2048  # characters
FOLLOWED = frozenset({307, 308})  # those that keep method and content (RFC 9110, 15.4); others count as failures
GONE = 410
LONGEST_WAIT_S = 24 * 3600.0  # that a receiver may ask for


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: an HTTP status, or what kept it from getting one.

    `retry_after_s` is what the receiver asked for.
    """

    status: int | None
    error: str | None
    retry_after_s: float = 0.0

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants it no more."""
        return self.status == GONE


@dataclass(frozen=True)
class Post:
    """How calls are made: within `timeout_s` each, from name to status. `resolver` and `trust` are the system's."""

    timeout_s: float
    allow_private: bool
    resolver: Resolver = resolve
    trust: ssl.SSLContext | None = None

    def run(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """POST, and what came of it. Of an answer only status and headers are read: it is nothing to us."""
        guard = Guard(time.monotonic() + self.timeout_s, self.allow_private, self.resolver, self.trust)
        said = {**AGENT, **headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
        try:
            return guard.send("POST", url, said, _outcome_of, content=body, follows=FOLLOWED)
        except NotReached as error:
            return Outcome(None, _said(error))


def check_url(url: str, *, allow_private: bool) -> None:
    """Raise `BadInput` where it can be told by the URL alone that nothing will be sent there."""
    if len(url) > MAX_URL:
        raise BadInput(f"webhook: a URL has at most {MAX_URL} characters", field="webhook")
    try:
        check_literal(url, allow_private=allow_private)
    except NotReached as error:
        raise BadInput(f"webhook: {_said(error)}", field="webhook") from error


def shown_secret(key: bytes) -> str:
    """A key as receivers' libraries take it."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def previous_until(secret: WebhookSecret) -> float | None:
    """Until when the secret before it is signed with as well; None where there is none."""
    return None if secret.rotated_at is None else secret.rotated_at + OVERLAP_S


def keys_at(signer: Signer, tenant: str, secret: WebhookSecret, at: float) -> list[bytes]:
    """What to sign with at that time: the present key, and the one before it for a while."""
    until = previous_until(secret)
    numbers = [secret.number] if until is None or at >= until else [secret.number, secret.number - 1]
    return [signer.webhook_key(tenant, number) for number in numbers]


def signed(keys: Sequence[bytes], delivery_id: str, at: float, body: bytes) -> dict[str, str]:
    """The headers of an attempt made `at` seconds since the epoch; a signature with each key."""
    said = f"{delivery_id}.{int(at)}.".encode() + body
    digests = [base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode() for key in keys]
    signatures = " ".join(f"v1,{digest}" for digest in digests)
    return {"webhook-id": delivery_id, "webhook-timestamp": str(int(at)), "webhook-signature": signatures}


def body_of(delivery: Delivery, job: Job, tell: Callable[[Job], dict[str, Any]]) -> bytes:
    """The event it tells of, and the job as it is now."""
    said = {"type": f"job.{delivery.event}", "timestamp": rfc3339(delivery.created_at), "data": tell(job)}
    text = json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")  # as refusals.Answer writes it


def told(delivery: Delivery) -> dict[str, Any]:
    """A delivery as the API shows it; `next_at` null: no further attempt."""
    return {
        "id": delivery.id,
        "event": delivery.event,
        "url": delivery.url,
        "state": delivery.state,
        "created_at": rfc3339(delivery.created_at),
        "next_at": rfc3339(delivery.due_at) if delivery.state == "pending" else None,
        "attempts": [
            {"at": rfc3339(made["at"]), "status": made.get("status"), "error": made.get("error")}
            for made in delivery.attempts
        ],
    }


def wait_asked(said: str, now: float) -> float:
    """Seconds that a Retry-After header asks for, a day at most; 0 for what cannot be read."""
    return min(retry_after_s(said, now) or 0.0, LONGEST_WAIT_S)


def _said(error: NotReached) -> str:
    return f"{error}; see allow_private_webhooks" if isinstance(error, NotPublic) else str(error)


def _outcome_of(response: httpcore.Response, host: str) -> Outcome:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    outcome = Outcome(response.status, f"{host} answered with HTTP status {response.status}")
    if outcome.is_delivered:
        return Outcome(response.status, None)
    return Outcome(response.status, outcome.error, wait_asked(headers.get(b"retry-after", ""), time.time()))

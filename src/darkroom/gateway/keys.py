"""API keys as the gateway knows them: `dk_<id>_<secret>`.

The secret has 256 random bits. Nobody guesses that, so SHA-256 of it is stored and no slow hash, and wrong keys need
not be slowed down. The keys are few: each gateway keeps them all, and reads them again every second, so that a revoked
one opens nothing about a second later and hardly a request waits for the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..core import ApiKey
from ..errors import StoreUnavailable, Unauthorised
from ..jobs.store import Store
from .threads import Threads

KEY = re.compile(r"dk_([0-9a-f]{12})_([0-9a-f]{64})")
ID_BYTES, SECRET_BYTES = 6, 32
FRESH_S = 1.0
HOW = (
    "`darkroom keys create NAME`, where the service runs, makes one: ask whoever runs it. Send it as "
    "`Authorization: Bearer dk_…`; for commands and darkroom.Client set DARKROOM_API_KEY"
)
NOT_A_KEY = f"this key opens nothing here: it is unknown, revoked or expired. {HOW}"


@dataclass(frozen=True)
class Drawn:
    """A new key: `shown` is for its owner, once; `secret_hash` is for the store."""

    id: str
    shown: str
    secret_hash: str


def draw() -> Drawn:
    """A key that nobody can guess."""
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
    return Drawn(key_id, f"dk_{key_id}_{secret}", hash_of(secret))


def id_of(shown: str) -> str | None:
    """The id in a key; None where it is none."""
    parts = KEY.fullmatch(shown)
    return parts[1] if parts else None


def hash_of(secret: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_alive(key: ApiKey, now: float) -> bool:
    """Whether it opens anything at all."""
    return key.revoked_at is None and (key.expires_at is None or now < key.expires_at)


class Keyring:
    """All keys of the store, at most `FRESH_S` old; while the store is away, those read last."""

    def __init__(
        self,
        store: Store,
        threads: Threads,
        clock: Callable[[], float],
        pace: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._threads, self._clock, self._pace = store, threads, clock, pace
        self._keys: dict[str, ApiKey] | None = None
        self._read_at = -math.inf
        self._reading = asyncio.Lock()
        self.has_keys = False  # once true it stays: a store that was emptied must not open the doors

    async def refresh(self) -> None:
        """Read the keys again where they are due; raises `StoreUnavailable` where they were never read."""
        if self._is_fresh():
            return
        async with self._reading:
            if not self._is_fresh():
                await self._read()

    def find(self, shown: str) -> ApiKey:
        """The living key that somebody shows; raises `Unauthorised`."""
        parts = KEY.fullmatch(shown)
        if parts is None:
            raise Unauthorised(f"that is no API key of ours: one looks like dk_…_…, and is sent whole. {HOW}")
        key = self.living(parts[1])
        # A hash is compared in any case: the time must not tell whether an id exists.
        is_right = hmac.compare_digest(hash_of(parts[2]), key.secret_hash if key else hash_of(""))
        if key is None or not is_right:
            raise Unauthorised(NOT_A_KEY)
        return key

    def living(self, key_id: str) -> ApiKey | None:
        """The key of that id, unless it is revoked or has expired."""
        key = (self._keys or {}).get(key_id)
        return key if key is not None and is_alive(key, self._clock()) else None

    def _is_fresh(self) -> bool:
        return self._pace() - self._read_at < FRESH_S

    async def _read(self) -> None:
        began = self._pace()
        try:
            keys = await self._threads.store(self._store.keys)
        except StoreUnavailable:
            if self._keys is None:
                raise
            self._read_at = self._pace()  # a store that is away is asked once a second, not by every request
            return
        self._keys = {key.id: key for key in keys}
        self._read_at = began
        self.has_keys = self.has_keys or bool(keys)

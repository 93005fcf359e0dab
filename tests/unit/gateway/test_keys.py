"""The ring of keys: how fresh it is, and what it does while the store is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom.core import ApiKey
from darkroom.errors import StoreUnavailable, Unauthorised
from darkroom.gateway.keys import FRESH_S, Keyring, draw, hash_of, id_of
from darkroom.gateway.threads import Threads
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Store

NOW = 1_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")) as found:
        yield found


def key_in(store: Store, **said: float) -> str:
    """A new key in the store; the key itself."""
    drawn = draw()
    key = ApiKey(drawn.id, "ann", "ann", ("user",), drawn.secret_hash, NOW)
    store.add_key(replace(key, **said))  # type: ignore[arg-type]
    return drawn.shown


class Ring:
    """A keyring whose pace the test owns."""

    def __init__(self, store: Store) -> None:
        self.threads, self.at = Threads(), 0.0
        self.keyring = Keyring(store, self.threads, lambda: NOW, lambda: self.at)

    def opens(self, shown: str) -> bool:
        asyncio.run(self.keyring.refresh())
        try:
            return self.keyring.find(shown).tenant == "ann"
        except Unauthorised:
            return False


@pytest.fixture
def ring(store: Store) -> Iterator[Ring]:
    made = Ring(store)
    yield made
    made.threads.close()


def test_keys_are_read_again_after_a_second_and_not_before(store: Store, ring: Ring) -> None:
    first = key_in(store)
    assert ring.opens(first)
    second = key_in(store)
    store.revoke_key(str(id_of(first)), NOW)
    ring.at += FRESH_S - 0.01
    assert (ring.opens(first), ring.opens(second)) == (True, False)
    ring.at += 0.01
    assert (ring.opens(first), ring.opens(second)) == (False, True)


def test_keys_stay_known_while_the_store_is_away_and_nothing_is_guessed_before(store: Store, ring: Ring) -> None:
    shown = key_in(store)
    ring.threads.lost = "away"
    with pytest.raises(StoreUnavailable):
        ring.opens(shown)
    ring.threads.lost = None
    assert ring.opens(shown)
    ring.threads.lost, ring.at = "away", ring.at + 10 * FRESH_S
    assert ring.opens(shown)
    store.revoke_key(str(id_of(shown)), NOW)
    ring.threads.lost, ring.at = None, ring.at + FRESH_S
    assert not ring.opens(shown)


def test_that_there_were_keys_is_not_forgotten(store: Store, ring: Ring, tmp_path: Path) -> None:
    asyncio.run(ring.keyring.refresh())
    assert not ring.keyring.has_keys
    store.revoke_key(str(id_of(key_in(store))), NOW)
    ring.at += FRESH_S
    asyncio.run(ring.keyring.refresh())
    assert ring.keyring.has_keys


def test_an_expired_key_opens_nothing(store: Store, ring: Ring) -> None:
    expired, alive = key_in(store, expires_at=NOW), key_in(store, expires_at=NOW + 1)
    assert (ring.opens(expired), ring.opens(alive)) == (False, True)


def test_a_key_has_256_random_bits_and_its_hash_says_nothing_of_it() -> None:
    one, other = draw(), draw()
    secret = one.shown.rpartition("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    assert one.shown != other.shown
    assert one.secret_hash == hash_of(secret)
    assert secret not in one.secret_hash
    assert id_of(one.shown) == one.id
    for text in ("", "dk__", one.shown + "0", one.shown.upper(), one.id):
        assert id_of(text) is None

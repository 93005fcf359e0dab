"""API keys as a store keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from darkroom.core import Allowance, ApiKey
from darkroom.errors import Conflict
from darkroom.jobs.store import Store
from tests.contract.making import NOW


def new_key(key_id: str = "k1", **fields: Any) -> ApiKey:
    """A key to store."""
    return ApiKey(**({"id": key_id, "tenant": "t", "name": "n", "roles": ("user",)} | SECRET | fields))


SECRET = {"secret_hash": "00ff", "created_at": NOW}


def test_there_are_no_keys_at_first(store: Store) -> None:
    assert store.keys() == []


def test_a_key_is_kept_with_every_field(store: Store, another: Callable[[], Store]) -> None:
    key = new_key(
        tenant="é:t",
        name="a 🦊 key",
        roles=("user", "operator"),
        priority_class="high",
        weight=2.5,
        allowance=Allowance(10, 3, 60.5, 0.25),
        expires_at=NOW + 0.125,
        revoked_at=None,
    )
    store.add_key(key)
    assert another().keys() == [key]


def test_a_key_without_limits_is_kept_so(store: Store) -> None:
    store.add_key(new_key())
    assert store.keys() == [new_key()]
    assert store.keys()[0].allowance == Allowance()


def test_keys_come_the_oldest_first(store: Store) -> None:
    for name, at in (("b", NOW + 1), ("c", NOW), ("a", NOW + 1), ("d", NOW + 2)):
        store.add_key(new_key(name, created_at=at))
    found = store.keys()
    assert [key.id for key in found] == ["c", "a", "b", "d"]


def test_a_taken_id_is_a_conflict_and_leaves_the_key(store: Store) -> None:
    store.add_key(new_key())
    with pytest.raises(Conflict):
        store.add_key(new_key(name="other"))
    assert store.keys() == [new_key()]


def test_a_revoked_key_says_when(store: Store) -> None:
    store.add_key(new_key())
    store.add_key(new_key("k2"))
    revoked = replace(new_key(), revoked_at=NOW + 5)
    assert store.revoke_key("k1", NOW + 5) == revoked
    assert store.keys() == [revoked, new_key("k2")]


def test_the_first_revocation_stays(store: Store) -> None:
    store.add_key(new_key())
    first = store.revoke_key("k1", NOW + 5)
    assert store.revoke_key("k1", NOW + 9) == first
    assert store.keys() == [first]


def test_there_is_nothing_to_revoke_where_there_is_no_key(store: Store) -> None:
    assert store.revoke_key("none", NOW) is None
    assert store.keys() == []


def test_keys_outlive_the_handle(store: Store, another: Callable[[], Store]) -> None:
    store.add_key(new_key())
    store.close()
    assert another().keys() == [new_key()]

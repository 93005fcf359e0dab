"""Callers of a gateway in tests: keys that are put into its store, and what one sends with them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from darkroom.core import ApiKey
from darkroom.gateway.keys import draw
from darkroom.jobs.store import Store

from .gateway_site import Site, wait_until


@dataclass(frozen=True)
class Holder:
    """Who holds a key: `shown` is the key itself."""

    id: str
    shown: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.shown}"}

    @property
    def secret(self) -> str:
        return self.shown.rpartition("_")[2]


def add_key(store: Store, tenant: str, *roles: str, **said: Any) -> Holder:
    """A new key in the store, a user's unless roles are said."""
    drawn = draw()
    key = ApiKey(
        id=drawn.id,
        tenant=tenant,
        name=f"{tenant}'s key",
        roles=roles or ("user",),
        secret_hash=drawn.secret_hash,
        created_at=time.time(),
        **said,
    )
    store.add_key(key)
    return Holder(drawn.id, drawn.shown)


def known(site: Site, tenant: str, *roles: str, **said: Any) -> Holder:
    """A new key, once the gateway knows it."""
    holder = add_key(site.store, tenant, *roles, **said)
    wait_until(lambda: site.http.get("/auth/me", headers=holder.headers).status_code == 200)
    return holder

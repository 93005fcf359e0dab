"""Short-lived tokens for browsers, which cannot set headers on EventSource, WebSocket and `<img>`: `?token=dt_…`.

A URL ends up in histories and in other people's logs. So a token dies soon, opens only what can be looked at (GET and
WebSocket), never has more than the role of a user, and dies with the key or the sign-in that it was made with.
"""

from __future__ import annotations

from dataclasses import dataclass

from .access import Caller
from .signing import Signer

PREFIX, PURPOSE = "dt_", "token"


@dataclass(frozen=True)
class Token:
    """What a token says: whose it is, and the key or the e-mail address that it depends on."""

    tenant: str
    key_id: str
    email: str


def mint(signer: Signer, caller: Caller, expires_at: float) -> str:
    """A token for the caller's own tenant."""
    said = {"tenant": caller.tenant, "key_id": caller.key_id, "email": caller.email}
    return PREFIX + signer.seal(PURPOSE, said, expires_at)


def read(signer: Signer, shown: str, now: float) -> Token | None:
    """What a token says; None where it is not ours or has expired."""
    said = signer.unseal(PURPOSE, shown[len(PREFIX) :], now) if shown.startswith(PREFIX) else None
    return None if said is None else Token(said["tenant"], said["key_id"], said["email"])

"""People without a key, where `[guests]` lets them in.

What a guest owns goes by a signed cookie alone; what guests may use is counted by address. For behind one address there
may be a whole office, whose people must not see each other's pictures; and a cookie can be thrown away, which must not
bring another day's allowance. Who brings no cookie is no guest yet: the UI's page and `GET /auth/me` give one.
"""

from __future__ import annotations

import ipaddress
import math
import secrets
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.responses import Response

from ..access_settings import GuestSettings
from ..core import GUESTS_TENANTS
from .access import GUESTS, USER, Caller
from .network import client_in
from .sessions import cookie_name, set_cookie
from .signing import Signer

COOKIE, PURPOSE = "darkroom_guest", "guest"
COOKIE_S = 180 * 24 * 3600.0
DRAWN = "guest_drawn"  # in a request's state: the name that its answer's cookie brings
HOUSE_BITS = 64  # of an IPv6 address: what follows, anybody may choose anew for each request


class Guests:
    """Who a guest is; its methods belong to the event loop."""

    def __init__(self, settings: GuestSettings, signer: Signer, clock: Callable[[], float]) -> None:
        self._limits, self._signer, self._clock = settings.limits, signer, clock

    def caller_of(self, connection: HTTPConnection) -> Caller | None:
        """The guest who asks; None: nobody has a name for it yet."""
        name, limits = self._name_in(connection), self._limits
        if name is None:
            return None
        return Caller(
            tenant=f"{GUESTS_TENANTS}{name}",
            roles=frozenset({USER}),
            allowance=limits.allowance,
            weight=limits.weight,
            priority_class=limits.priority_class,
            guest=f"{GUESTS}{self._house(connection)}",
        )

    def draw(self, connection: HTTPConnection) -> None:
        """Give who brings no cookie a name of its own, for this request; `welcome` puts it into the answer."""
        if self._name_in(connection) is None:
            # With the address at which it was drawn: what guests store is counted by it.
            connection.scope["state"][DRAWN] = f"{self._house(connection)}-{secrets.token_hex(8)}"

    def welcome(self, connection: HTTPConnection, answer: Response) -> None:
        """Have the browser keep the name that was drawn, if one was."""
        name = connection.scope["state"].get(DRAWN)
        if name is None:
            return
        answer.headers["Cache-Control"] = f"private, {answer.headers.get('Cache-Control', 'no-cache')}"
        cookie = self._signer.seal(PURPOSE, {"guest": name}, math.floor(self._clock() + COOKIE_S))
        set_cookie(answer, connection, COOKIE, cookie, COOKIE_S)

    def _name_in(self, connection: HTTPConnection) -> str | None:
        cookie = connection.cookies.get(cookie_name(connection.url.scheme, COOKIE), "")
        said = self._signer.unseal(PURPOSE, cookie, self._clock()) if cookie else None
        drawn: str | None = connection.scope["state"].get(DRAWN)
        return drawn if said is None else str(said["guest"])

    def _house(self, connection: HTTPConnection) -> str:
        """A name for the address, which nobody can read it from."""
        return self._signer.pseudonym(PURPOSE, house_of(client_in(connection.scope)))


def neighbours_of(tenant: str) -> str:
    """How the names of all guests begin whose cookies were drawn at that guest's address."""
    return f"{tenant.rpartition('-')[0]}-"


def house_of(address: str) -> str:
    """The address that counts as one: of IPv6 the network that a subscriber is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, HOUSE_BITS), strict=False))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)

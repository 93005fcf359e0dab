"""Who has signed in: a cookie that says the e-mail address, signed; and what people of that address may do here.

The cookie is all there is of a session: gateways share nothing but the secret. Whether the address may still come in is
asked with every request, so a narrower setting ends sessions at the next start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from ..access_settings import EVERY_DOMAIN, OidcSettings
from .access import OPERATOR, USER
from .signing import Signer

COOKIE, PURPOSE = "darkroom_session", "session"
SECURE_PREFIX = "__Host-"  # browsers then take it from this very host over TLS alone (RFC 6265bis)


class People:
    """What the settings say of addresses; pure."""

    def __init__(self, oidc: OidcSettings) -> None:
        self._emails = {email.lower() for email in (*oidc.allowed_emails, *oidc.operators)}
        self._domains = {domain.lower() for domain in oidc.allowed_domains}
        self._operators = {email.lower() for email in oidc.operators}

    def roles_of(self, email: str) -> frozenset[str] | None:
        """The roles of who has that address; None: it may not come in."""
        domain = email.rpartition("@")[2]
        if email not in self._emails and not self._domains & {domain, EVERY_DOMAIN}:
            return None
        return frozenset({USER, OPERATOR} if email in self._operators else {USER})

    def needs_hosting(self, email: str) -> bool:
        """Whether the domain alone lets that address in: then it must be the domain that vouches for it."""
        return email not in self._emails and EVERY_DOMAIN not in self._domains

    def is_hosted(self, domain: Any) -> bool:
        """Whether the domain that an account belongs to, as the issuer says, is one of those that may come in."""
        return isinstance(domain, str) and domain.lower() in self._domains


def normal_email(said: Any) -> str | None:
    """An address as it is compared; None for what is none.

    Letters beyond ASCII are not taken: several of them become a plain letter when they are made small.
    """
    if not isinstance(said, str) or not said.isascii() or not said.isprintable() or " " in said:
        return None
    name, at, domain = said.lower().rpartition("@")
    return said.lower() if name and at and domain and len(said) <= 254 else None


def cookie_name(scheme: str, name: str = COOKIE) -> str:
    """How the cookie is called where we were called by that scheme."""
    return f"{SECURE_PREFIX}{name}" if scheme in ("https", "wss") else name


def set_cookie(answer: Response, connection: HTTPConnection, name: str, value: str, max_age_s: float) -> None:
    """Have the browser keep it, for requests to us alone."""
    scheme = connection.url.scheme
    answer.set_cookie(
        cookie_name(scheme, name),
        value,
        max_age=int(max_age_s),
        path="/",  # what the __Host- prefix asks for
        secure=scheme == "https",
        httponly=True,
        samesite="lax",
    )


def issue(signer: Signer, email: str, expires_at: float) -> str:
    """The cookie's value."""
    return signer.seal(PURPOSE, {"email": email}, expires_at)


def read(signer: Signer, cookies: Mapping[str, str], scheme: str, now: float) -> str | None:
    """The address that a request's cookie says; None where there is no good one."""
    said = signer.unseal(PURPOSE, cookies.get(cookie_name(scheme), ""), now)
    return None if said is None else str(said["email"])

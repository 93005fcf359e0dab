"""Who asks: a key, a token, or a person who signed in; or, where nothing is asked for, everybody as `local`.

Authorization: Bearer dk_…   any request
?token=dt_…                  GET and WebSocket
a session's cookie           any request; what changes something, and WebSockets, from our own pages alone
a guest's cookie             the same, where `[guests]` is set
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..access_settings import PersonLimits
from ..config import Settings
from ..core import ApiKey
from ..errors import DarkroomError, Forbidden, StoreUnavailable, Unauthorised
from . import sessions, tokens
from .access import EVERYONE, OPERATOR, USER, Caller
from .answers import Addresses
from .guests import Guests
from .keys import HOW, Keyring
from .limits import told_of
from .network import is_from_here
from .signing import Signer

WANTED = f"an API key is needed. {HOW}"
GUEST_WANTED = "a guest's cookie is needed, which /ui/ and GET /auth/me give, or an API key."
NOTHING_MORE: Message = {"type": "http.request", "body": b"", "more_body": False}
LOOKING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Reception:
    """Tells callers apart. `is_insecure`: whoever starts it wants it open to others while there are no keys."""

    settings: Settings
    keyring: Keyring
    signer: Signer
    clock: Callable[[], float]
    is_insecure: bool = False
    guests: Guests | None = None

    async def caller_of(self, connection: HTTPConnection) -> Caller:
        """Who asks; raises `Unauthorised`, `Forbidden` or `StoreUnavailable`. Asked again, it says the same."""
        state = connection.scope["state"]
        if "caller" not in state:
            try:
                state["caller"] = await self._look(connection)
            except DarkroomError as error:
                state["caller"] = error
        if isinstance(state["caller"], DarkroomError):
            raise state["caller"]
        caller: Caller = state["caller"]
        return caller

    async def is_still(self, caller: Caller) -> bool:
        """Whether what the caller came in with opens anything still."""
        try:
            await self.keyring.refresh()
        except StoreUnavailable:
            return True
        return not caller.key_id or self.keyring.living(caller.key_id) is not None

    async def _look(self, connection: HTTPConnection) -> Caller:
        if self.settings.serve.auth != "open":
            await self.keyring.refresh()
        if not self._asks(is_from_here(connection.scope)):
            return EVERYONE
        if "authorization" in connection.headers:
            return caller_of_key(self.keyring.find(bearer_of(connection.headers)))
        if "token" in connection.query_params and is_looking(connection):
            return self._by_token(connection.query_params["token"])
        email = sessions.read(self.signer, connection.cookies, connection.url.scheme, self.clock())
        if email is not None:
            check_own_page(connection)
            return self._person(email)
        guest = None if self.guests is None else self.guests.caller_of(connection)
        if guest is None:
            raise Unauthorised(WANTED if self.guests is None else f"{GUEST_WANTED} {HOW}")
        return guest

    def _asks(self, is_near: bool) -> bool:
        auth = self.settings.serve.auth
        if auth != "auto":
            return auth == "keys"
        has_others = self.settings.oidc is not None or self.settings.guests is not None
        return self.keyring.has_keys or has_others or not (self.is_insecure or is_near)

    def _by_token(self, shown: str) -> Caller:
        token = tokens.read(self.signer, shown, self.clock())
        if token is not None and token.email:
            return replace(self._person(token.email), roles=frozenset({USER}), is_token=True)
        key = self.keyring.living(token.key_id) if token is not None else None
        if token is None or key is None:
            raise Unauthorised("the token is unknown or has expired: ask POST /v1/tokens for another", field="token")
        return replace(caller_of_key(key), tenant=token.tenant, roles=frozenset({USER}), is_token=True)

    def _person(self, email: str) -> Caller:
        oidc = self.settings.oidc
        roles = sessions.People(oidc).roles_of(email) if oidc is not None else None
        if roles is None:
            raise Unauthorised(f"{email} may no longer sign in here")
        limits = PersonLimits() if oidc is None or OPERATOR in roles else oidc.limits
        return Caller(
            tenant=email,
            roles=roles,
            allowance=limits.allowance,
            weight=limits.weight,
            priority_class=limits.priority_class,
            email=email,
        )


class UnreadBody:
    """ASGI: nothing is read of a body before its sender is known; the route then refuses, in its own shape."""

    def __init__(self, app: ASGIApp, look: Callable[[HTTPConnection], Awaitable[Caller]]) -> None:
        self.app, self.look = app, look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_first = True

        async def receive_of_known() -> Message:
            nonlocal is_first
            if is_first:
                is_first = False  # later ones are asked by streams, to hear that their client has gone
                try:
                    await self.look(HTTPConnection(scope))
                except DarkroomError:
                    return NOTHING_MORE
                except Exception as fault:  # budget: whoever reads the body would blame the body for it
                    raise told_of(scope, fault, log_prompts=False) from None
            return await receive()

        await self.app(scope, receive_of_known if scope["type"] == "http" else receive, send)


def bearer_of(headers: Headers) -> str:
    """What stands behind `Bearer` (RFC 6750); raises `Unauthorised`."""
    [said, *others] = headers.getlist("authorization")
    scheme, _, shown = said.partition(" ")
    if scheme.lower() != "bearer" or others:
        raise Unauthorised(f"the Authorization header must be one alone, `Bearer` and an API key. {HOW}")
    return shown.strip()


def caller_of_key(key: ApiKey) -> Caller:
    """The caller that shows this key."""
    return Caller(
        tenant=key.tenant,
        roles=frozenset(key.roles),
        key_id=key.id,
        allowance=key.allowance,
        weight=key.weight,
        priority_class=key.priority_class,
    )


def is_looking(connection: HTTPConnection) -> bool:
    """Whether the request changes nothing: GET or a WebSocket."""
    return connection.scope["type"] == "websocket" or connection.scope["method"] in LOOKING


def check_own_page(connection: HTTPConnection) -> None:
    """Raise `Forbidden` where a browser sends a session's cookie for somebody else's page (CSRF).

    Browsers say the Origin of whatever changes something; Sec-Fetch-Site says the same where they leave it out.
    """
    if connection.scope["type"] == "http" and connection.scope["method"] in LOOKING:
        return
    said = connection.headers.get("origin")
    if said is None:
        is_own = connection.headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    else:
        is_own = said.lower() == Addresses.of(connection).http("").lower()
    if not is_own:
        raise Forbidden("with a session's cookie only pages of this server may ask for that", field="Origin")

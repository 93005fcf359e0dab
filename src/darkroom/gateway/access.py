"""Who may talk to the gateway at all (Host and Origin), and who a caller is.

An open loopback port can be reached by any web page: by its scripts (they send their Origin), and by a name of the
page's own that it lets point to 127.0.0.1 (DNS rebinding; the Host header tells). Both lists are always on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..config import ServeSettings
from ..core import Allowance
from ..errors import Forbidden, NotFound
from .refusals import refusal_of

HOST = re.compile(r"(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^\s:,\[\]]+))(?::\d{1,5})?")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
USER, OPERATOR, WORKER = "user", "operator", "worker"
LOCAL_TENANT = "local"
GUESTS = "guest:"  # begins what guests' use is counted with
CORS_METHODS = "GET, POST, PATCH, DELETE"
CORS_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, OpenAI-Beta, OpenAI-Organization, OpenAI-Project, "
    "Prefer, Traceparent, User-Agent, X-Request-Id"
)
# OpenAI's client for JavaScript tells of itself in these, which become more with its releases. We read none of them.
CORS_HEADER_TOO = re.compile(r"x-stainless-[a-z0-9-]{1,40}")
CORS_SHOWN = (
    "ETag, Idempotency-Replayed, Location, Preference-Applied, Retry-After, WWW-Authenticate, X-Job-Id, X-Request-Id, "
    "X-Should-Retry"
)
MOST_HEADERS = 64
CORS_AGE_S = 600


@dataclass(frozen=True)
class Caller:
    """Who asks: a tenant, what it may do, and what the key that it showed ("": none) brings with it."""

    tenant: str
    roles: frozenset[str]
    key_id: str = ""
    allowance: Allowance = field(default_factory=Allowance)
    weight: float = 1.0
    priority_class: str = "normal"
    email: str = ""  # of a person who signed in
    guest: str = ""  # what a guest's use is counted with
    is_token: bool = False  # it came with a URL, which others may have seen

    @property
    def account(self) -> str:
        """What its use is counted with: the key, the person who signed in, the guests' address; "": nothing is."""
        return self.key_id or (f"person:{self.email}" if self.email else self.guest)

    @property
    def crowd(self) -> str:
        """What its streams, bodies and fetches are counted with: guests can be any number of tenants."""
        return self.guest or self.tenant

    @property
    def is_operator(self) -> bool:
        """Whether it may see everybody's jobs, and the workers."""
        return OPERATOR in self.roles

    @property
    def is_user(self) -> bool:
        """Whether it may make jobs and look at its own; an operator may."""
        return bool(self.roles & {USER, OPERATOR})

    def owns(self, tenant: str) -> bool:
        """Whether what belongs to that tenant is its to see and change."""
        return self.is_operator or self.tenant == tenant

    def check_no_token(self) -> None:
        """Raise `Forbidden` where it came with a token: secrets are not for what stands in a URL."""
        if self.is_token:
            raise Forbidden("a token in the URL does not open this: send the key itself", field="token")
        self.check_no_guest()

    def check_no_guest(self) -> None:
        """Raise `Forbidden` for guests: they make pictures and look at them."""
        if self.guest:
            raise Forbidden("this is not for guests: it needs an API key")

    def check_user(self) -> None:
        """Raise `Forbidden` unless it may make jobs."""
        if not self.is_user:
            raise Forbidden("this is for users; a worker's key opens GET /v1/models, and what workers say to a gateway")

    def check_operator(self) -> None:
        """Raise `Forbidden` unless it is one."""
        if not self.is_operator:
            raise Forbidden("this is for operators only")

    def check_worker(self) -> None:
        """Raise `Forbidden` unless it may claim jobs."""
        if not self.roles & {WORKER, OPERATOR}:
            raise Forbidden("this is for workers: their keys have the role worker")

    def check_owns(self, tenant: str, what: str) -> None:
        """Raise `NotFound` for what is somebody else's: that it exists is theirs to know."""
        if not self.owns(tenant):
            raise NotFound(what)


def is_of_guests(crowd: str) -> bool:
    """Whether what is counted under that name is guests'."""
    return crowd.startswith(GUESTS)


Identify = Callable[[HTTPConnection], Caller]


NOBODY = Caller("", frozenset())
EVERYONE = Caller(LOCAL_TENANT, frozenset({USER, OPERATOR, WORKER}))  # without keys: the tenant `local`, all roles


class AllowList:
    """Whose name we answer to, and which pages may call; pure.

    To those who did not come over loopback, any address in numbers is a fair name for us: rebinding needs a name.
    """

    def __init__(self, serve: ServeSettings) -> None:
        self._hosts = {name.lower() for name in serve.allowed_hosts} | LOOPBACK_NAMES | {serve.host.lower()}
        self._origins = {origin.lower().rstrip("/") for origin in serve.allowed_origins}

    def check_host(self, host: str, reached_at: str) -> None:
        """Raise `Forbidden` unless we answer to that Host header; the port in it does not matter.

        `reached_at` is the address of ours that the connection came to.
        """
        name = host_name(host)
        if name in self._hosts or self._is_below(name) or (is_address(name) and not is_loopback(reached_at)):
            return
        raise Forbidden(f"this server does not answer to the host {host!r}; see allowed_hosts", field="Host")

    def is_own(self, origin: str, host: str) -> bool:
        """Whether a page came from this very server."""
        scheme, _, place = origin.partition("://")
        return scheme in ("http", "https") and place.lower() == host.lower()

    def is_listed(self, origin: str) -> bool:
        """Whether pages of that origin may call."""
        return origin.lower() in self._origins

    def _is_below(self, name: str) -> bool:
        return any(entry.startswith("*.") and name.endswith(entry[1:]) for entry in self._hosts)


class AccessWall:
    """ASGI: refuses foreign hosts and origins on HTTP and WebSocket; tells listed origins that they may read."""

    def __init__(self, app: ASGIApp, allowed: AllowList) -> None:
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Several of one kind joined are no name that we answer to: somebody else might read another of them than we do.
        host, origin = ", ".join(headers.getlist("host")), ", ".join(headers.getlist("origin"))
        is_foreign = "origin" in headers and not self.allowed.is_own(origin, host)
        try:
            self.allowed.check_host(host, (scope.get("server") or ("",))[0] or "")
            if is_foreign and not self.allowed.is_listed(origin):
                raise Forbidden(f"pages of {origin!r} may not call this server; see allowed_origins", field="Origin")
        except Forbidden as error:
            await refusal_of(scope, error)(scope, receive, send)
            return
        await self._pass(scope, receive, send, origin if is_foreign else None)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, origin: str | None) -> None:
        if origin is None or scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            asked = Headers(scope=scope).get("access-control-request-headers", "")
            await Response(status_code=204, headers=_preflight(origin, asked))(scope, receive, send)
        else:
            await self.app(scope, receive, _telling(send, origin))


def host_name(host: str) -> str:
    """The name in a Host header, without its port and brackets; empty where it is no such header."""
    found = HOST.fullmatch(host.lower())
    return (found["address"] or found["name"]) if found else ""


def is_address(name: str) -> bool:
    """Whether it is an address in numbers."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether only this machine gets there; what is no address is taken for one, the stricter case."""
    return not is_address(address) or ipaddress.ip_address(address).is_loopback


def _telling(send: Send, origin: str) -> Send:
    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = CORS_SHOWN
            headers.add_vary_header("Origin")
        await send(message)

    return told


def _preflight(origin: str, asked: str) -> dict[str, str]:
    names = [name.strip().lower() for name in asked.split(",", MOST_HEADERS)]
    too = [name for name in names[:MOST_HEADERS] if CORS_HEADER_TOO.fullmatch(name)]
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": CORS_METHODS,
        "Access-Control-Allow-Headers": ", ".join([CORS_HEADERS, *too]),
        "Access-Control-Max-Age": str(CORS_AGE_S),
        "Vary": "Origin, Access-Control-Request-Headers",
    }

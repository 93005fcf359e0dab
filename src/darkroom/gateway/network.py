"""Where a request comes from: through proxies that are trusted, and whether that address may call at all.

A proxy appends the address that it was called from to X-Forwarded-For. What stands further left came from that caller,
who may have made it up. So the header counts only where our peer is a trusted proxy, and is read from the right: the
first address that is no trusted proxy is the client's. What cannot be read as an address is nobody's; it fits no list.
A proxy that says in other words that it is one, and not for whom, hides its client: that is nobody's address either.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..config import ServeSettings
from ..errors import Forbidden
from .refusals import refusal_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PROXIED = ("forwarded", "via", "x-real-ip")  # what proxies add, beside X-Forwarded-*
SCHEMES = {"http": ("http", "ws"), "https": ("https", "wss")}


def parse_address(said: str) -> Address | None:
    """An address in numbers, also with a port or in brackets; IPv4 within IPv6 is IPv4. None for anything else."""
    text = said.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_near(address: str) -> bool:
    """Whether it is this very machine; pure."""
    parsed = parse_address(address)
    return parsed is not None and parsed.is_loopback


class Networks:
    """The settings' three lists; pure."""

    def __init__(self, serve: ServeSettings) -> None:
        self._trusted = _networks(serve.trusted_proxies)
        self._allowed, self._denied = _networks(serve.allowed_ips), _networks(serve.denied_ips)

    def is_trusted(self, address: Address | None) -> bool:
        """Whether it is a proxy of ours."""
        return _is_in(address, self._trusted)

    def client_of(self, peer: Address | None, forwarded: Sequence[str]) -> Address | None:
        """The client behind a peer; `forwarded` is what X-Forwarded-For said, from the left. None: not to be told."""
        hops = [parse_address(hop) for said in forwarded for hop in said.split(",")]
        client = peer
        while hops and self.is_trusted(client):
            client = hops.pop()
        return client

    def check(self, client: Address | None) -> None:
        """Raise `Forbidden` unless that address may call; a denial stands above what is allowed."""
        if client is None and (self._denied or self._allowed):
            raise Forbidden("your address cannot be told, and only known addresses may call here")
        if _is_in(client, self._denied) or (self._allowed and not _is_in(client, self._allowed)):
            raise Forbidden(f"your address {client} may not call here; see allowed_ips and denied_ips")


class NetworkWall:
    """ASGI: replaces the peer by the client, and the scheme by the one that the proxy was called with; refuses."""

    def __init__(self, app: ASGIApp, networks: Networks) -> None:
        self.app, self.networks = app, networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            self._look_behind(scope)
            try:
                self.networks.check(parse_address(client_in(scope)))
            except Forbidden as error:
                await refusal_of(scope, error)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _look_behind(self, scope: Scope) -> None:
        headers, peer = Headers(scope=scope), parse_address(client_in(scope))
        if not self.networks.is_trusted(peer):
            scope.setdefault("state", {})["is_proxied"] = is_proxied(headers)
            return
        said = headers.getlist("x-forwarded-for")
        client = self.networks.client_of(peer, said) if said or not is_proxied(headers) else None
        scope["client"] = (str(client) if client else "", 0)
        schemes = SCHEMES.get(headers.get("x-forwarded-proto", "").strip().lower())
        if schemes is not None:
            scope["scheme"] = schemes[scope["type"] == "websocket"]


def is_proxied(headers: Headers) -> bool:
    """Whether a proxy has had the request in its hands, and says so."""
    return any(name in PROXIED or name.startswith("x-forwarded") for name in headers)


def is_from_here(scope: Scope) -> bool:
    """Whether a program on this machine asks, and not somebody behind a proxy that we do not trust."""
    return is_near(client_in(scope)) and not scope.get("state", {}).get("is_proxied", False)


def client_in(scope: Scope) -> str:
    """The client's address as the scope has it; empty where it is not known."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""


def _networks(said: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in said)


def _is_in(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks)

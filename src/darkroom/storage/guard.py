"""Connecting where a stranger's URL says, to public addresses only: a guard against server-side request forgery.

The check is part of connecting. A name is resolved once, every address it has is judged, and the connection goes to
one of the judged addresses, under the name for TLS and Host. So there is no second look-up that could answer otherwise
(DNS rebinding), no spelling of an address that a parser and the system read differently, and no redirect that escapes.
docs/architecture/05-storage.md lists what is refused and why.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

import httpcore
import httpx

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = {"User-Agent": "darkroom"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
T = TypeVar("T")


class Reach(IntEnum):
    """From where an address can be reached; PRIVATE by setting, NEVER not at all."""

    PUBLIC = 0
    PRIVATE = 1
    NEVER = 2


# Not even where private addresses are allowed: nobody means these, and clouds keep credentials there.
NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this host": some systems take it for loopback
        "169.254.0.0/16",  # link-local, with the metadata service of most clouds
        "100.100.100.200/32",  # Alibaba's metadata service
        "168.63.129.16/32",  # Azure's host agent, on an address that looks public
        "192.0.0.0/24",  # protocol assignments, with Oracle's metadata service
        "192.88.99.0/24",  # 6to4 relays, no longer in use
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "fd00:ec2::/32",  # Amazon's metadata service
        "fd20:ce::/32",  # Google's metadata service
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, no longer in use
        "ff00::/8",  # multicast
        "2001::/23",  # protocol assignments, with Teredo: IPv4 in disguise
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: IPv4 in disguise
        "3fff::/20",  # documentation
    )
)
LOCAL_V6 = (ipaddress.ip_network("::1/128"), ipaddress.ip_network("fc00::/7"))
GLOBAL_V6 = ipaddress.ip_network("2000::/3")  # all that has been given out for the public (RFC 4291)
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # how a network without IPv4 writes IPv4 addresses (RFC 6052)


def reach_of(address: Address) -> Reach:
    """From where it can be reached; what is not known to be public is refused."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:  # a disguise that no name server gives
            return max(Reach.PRIVATE, reach_of(address.ipv4_mapped))
        if address in NAT64:
            return reach_of(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in NEVER):
        return Reach.NEVER
    if isinstance(address, ipaddress.IPv4Address):
        return Reach.PUBLIC if address.is_global else Reach.PRIVATE
    if any(address in network for network in LOCAL_V6):
        return Reach.PRIVATE
    return Reach.PUBLIC if address in GLOBAL_V6 else Reach.NEVER


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system's resolver gives them; its own time limits hold."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class NotReached(Exception):
    """Why nothing was sent or read, for the one who gave the URL.

    It never quotes the URL, which may hold a secret, nor an address that a name led to.
    """


class NotPublic(NotReached):
    """It is not for the public: a setting of the caller's may admit private addresses, and http with them."""


@dataclass(frozen=True)
class Guard:
    """One exchange with a stranger's server; `until` (`time.monotonic`) is the moment by which all of it must be done.

    `resolver` and `trust` stand for the system's own, so that tests can have names and certificates.
    """

    until: float
    allow_private: bool = False
    resolver: Resolver = resolve
    trust: ssl.SSLContext | None = None

    def left_s(self, timeout_s: float | None = None) -> float:
        """Seconds until the end, or `timeout_s` where that is less; raises when there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.TimeoutException
        return left if timeout_s is None else min(left, timeout_s)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        read: Callable[[httpcore.Response, str], T],
        *,
        content: bytes = b"",
        follows: Container[int] = REDIRECTS,
    ) -> T:
        """What `read` makes of the answer and the host it came from; redirects with a status in `follows` are followed
        with the same method and content. Raises `NotReached`, and what `read` raises."""
        backend = _Guarded(self)
        target = parse(url, allow_private=self.allow_private)
        for _ in range(MAX_REDIRECTS + 1):
            with self._exchange(method, target, headers, content, backend) as response:
                place = _location_of(response) if response.status in follows else None
                if place is None:
                    return read(response, host_of(target))
            target = parse(place, target, allow_private=self.allow_private)
        raise NotReached(f"{host_of(target)} redirects more than {MAX_REDIRECTS} times")

    @contextmanager
    def _exchange(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes, backend: httpcore.NetworkBackend
    ) -> Iterator[httpcore.Response]:
        host, port = host_of(url), url.port or (443 if url.scheme == "https" else 80)
        core = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path)
        said: list[tuple[bytes | str, bytes | str]] = [("Host", url.netloc), *headers.items()]
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self.trust, network_backend=backend) as pool,
                pool.stream(method, core, headers=said, content=content or None) as response,
            ):
                yield response
        except httpcore.TimeoutException as error:
            raise NotReached(f"{host} did not answer in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise NotReached(f"{host} could not be read from: {error or 'the connection broke'}") from error


def parse(url: str, base: httpx.URL | None = None, *, allow_private: bool = False) -> httpx.URL:
    """The URL, once scheme and form are right; raises `NotReached`."""
    try:
        parsed = base.join(url) if base else httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise NotReached("the URL cannot be read") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if parsed.scheme not in schemes or not parsed.raw_host:
        kind = NotPublic if parsed.scheme == "http" and not allow_private else NotReached
        raise kind(f"a URL must begin with {' or '.join(name + '://' for name in schemes)}")
    if parsed.userinfo:
        raise NotReached("a URL with a user name or password in it is not used")
    return parsed


def check_literal(url: str, *, allow_private: bool = False) -> None:
    """Raise `NotReached` for what can be told of a URL without asking a name server: its form, and an address in it."""
    host = host_of(parse(url, allow_private=allow_private)).rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # loopback by name (RFC 6761)
        judge(host, ["127.0.0.1"], allow_private=allow_private)
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, flags=socket.AI_NUMERICHOST)
    except UnicodeError as error:
        raise NotReached(f"{host} is not the name of a server") from error
    except OSError:
        return  # a name
    judge(host, [str(entry[4][0]) for entry in found], allow_private=allow_private)


def judge(host: str, addresses: Sequence[str], *, allow_private: bool = False) -> None:
    """Raise `NotReached` unless each of them may be connected to."""
    try:
        reaches = [reach_of(ipaddress.ip_address(address)) for address in addresses]
    except ValueError as error:
        raise NotReached(f"{host} is not the name of a server") from error
    # One bad address among good ones is refused as well: which of them is used must not be a matter of luck.
    if any(reach > (Reach.PRIVATE if allow_private else Reach.PUBLIC) for reach in reaches):
        # Of a name it is not told which of the two it is: that would say what it leads to.
        kind = NotReached if allow_private else NotPublic
        raise kind(f"{host} is not at a public address, and only those are connected to")


def host_of(url: httpx.URL) -> str:
    """Its host as it goes over the wire; `url.host` turns names back into Unicode, and fails where it cannot."""
    return url.raw_host.decode("ascii")


def _location_of(response: httpcore.Response) -> str | None:
    return next((value.decode("latin-1") for name, value in response.headers if name.lower() == b"location"), None)


class _Guarded(httpcore.NetworkBackend):
    """Connects to judged addresses only."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to one of the addresses of `host`, all of which may be connected to."""
        failed: Exception | None = None
        for address in self._judged(host, port):
            try:
                left_s = self._guard.left_s(timeout)
                stream = self._sockets.connect_tcp(address, port, left_s, local_address, socket_options)
                return _Bounded(stream, self._guard)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError("it has no address")

    def _judged(self, host: str, port: int) -> Sequence[str]:
        try:
            found = self._guard.resolver(host, port)
        except (OSError, ValueError) as error:
            raise NotReached(f"{host} is not the name of a server") from error
        judge(host, found, allow_private=self._guard.allow_private)
        return found


class _Bounded(httpcore.NetworkStream):
    """A connection whose every move ends by the guard's deadline: a server that drips bytes gains nothing."""

    def __init__(self, stream: httpcore.NetworkStream, guard: Guard) -> None:
        self._stream = stream
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._guard.left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._guard.left_s(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            left_s = self._guard.left_s(timeout)
        except httpcore.TimeoutException:
            self.close()  # nobody else does, until the handshake is over
            raise
        return _Bounded(self._stream.start_tls(ssl_context, server_hostname, left_s), self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

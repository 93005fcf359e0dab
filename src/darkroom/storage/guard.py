"""Fetching a URL that a stranger gave, from public addresses only: a guard against server-side request forgery.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import httpcore
import httpx

from ..errors import BadInput, TooLarge

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = {
    "Accept": "image/png, image/jpeg, image/webp",
    "Accept-Encoding": "identity",  # pictures are compressed already, and what unpacks can be a bomb
    "User-Agent": "darkroom",
}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]


class Reach(IntEnum):
    """From where an address can be reached; PRIVATE by setting, NEVER not at all."""

    PUBLIC = 0
    PRIVATE = 1
    NEVER = 2


# Not even where private addresses are allowed: nobody keeps pictures there, and clouds keep credentials there.
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


@dataclass(frozen=True)
class Fetch:
    """How far one fetch may go: bytes, and the moment (`time.monotonic`) by which all of it must be done.

    `resolver` and `trust` stand for the system's own, so that tests can have names and certificates.
    """

    field: str
    max_bytes: int
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

    def run(self, url: str) -> bytes:
        """The bytes at `url`, an https URL; raises `BadInput` or `TooLarge` with the field."""
        backend = _Guarded(self)
        target = self._parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(target, backend)
            if isinstance(answer, bytes):
                return answer
            target = self._parse(answer, target)
        raise self.refuse(f"{_host(target)} redirects more than {MAX_REDIRECTS} times")

    def refuse(self, why: str) -> BadInput:
        """The error that says why the URL is not fetched; it never quotes the URL, which may hold a secret."""
        return BadInput(f"{self.field}: {why}; upload the picture instead", field=self.field)

    def _parse(self, url: str, base: httpx.URL | None = None) -> httpx.URL:
        try:
            parsed = base.join(url) if base else httpx.URL(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise self.refuse("the URL cannot be read") from error
        schemes = ("https", "http") if self.allow_private else ("https",)
        if parsed.scheme not in schemes or not parsed.raw_host:
            raise self.refuse(f"a URL must begin with {' or '.join(name + '://' for name in schemes)}")
        if parsed.userinfo:
            raise self.refuse("a URL with a user name or password in it is not fetched")
        return parsed

    def _get(self, url: httpx.URL, backend: httpcore.NetworkBackend) -> bytes | str:
        """The bytes, or where the server says they are."""
        host, port = _host(url), url.port or (443 if url.scheme == "https" else 80)
        core = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port, target=url.raw_path)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self.trust, network_backend=backend) as pool,
                pool.stream("GET", core, headers=_headers(url)) as response,
            ):
                return self._read(response, host)
        except httpcore.TimeoutException as error:
            raise self.refuse(f"{host} did not send it in time") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise self.refuse(f"{host} could not be read from: {error or 'the connection broke'}") from error

    def _read(self, response: httpcore.Response, host: str) -> bytes | str:
        headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in REDIRECTS and b"location" in headers:
            return headers[b"location"]
        if response.status != 200:
            raise self.refuse(f"{host} answered with HTTP status {response.status}")
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            raise self.refuse(f"{host} sent it compressed, which was not asked for")
        if headers.get(b"content-length", "0").isdecimal() and int(headers.get(b"content-length", 0)) > self.max_bytes:
            raise self._too_large(host)
        content = bytearray()
        for part in response.iter_stream():
            content += part
            if len(content) > self.max_bytes:
                raise self._too_large(host)
        return bytes(content)

    def _too_large(self, host: str) -> TooLarge:
        return TooLarge(f"{self.field}: {host} sends more than {self.max_bytes} bytes", field=self.field)


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")  # `url.host` turns names back into Unicode, and fails where it cannot


def _headers(url: httpx.URL) -> list[tuple[bytes | str, bytes | str]]:
    return [("Host", url.netloc), *HEADERS.items()]


class _Guarded(httpcore.NetworkBackend):
    """Connects to judged addresses only."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
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
                left_s = self._fetch.left_s(timeout)
                stream = self._sockets.connect_tcp(address, port, left_s, local_address, socket_options)
                return _Bounded(stream, self._fetch)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError("it has no address")

    def _judged(self, host: str, port: int) -> Sequence[str]:
        try:
            found = self._fetch.resolver(host, port)
            reaches = [reach_of(ipaddress.ip_address(address)) for address in found]
        except (OSError, ValueError) as error:
            raise self._fetch.refuse(f"{host} is not the name of a server") from error
        # One bad address among good ones is refused as well: which of them is used must not be a matter of luck.
        if any(reach > (Reach.PRIVATE if self._fetch.allow_private else Reach.PUBLIC) for reach in reaches):
            raise self._fetch.refuse(f"{host} is not at a public address, and only those are fetched from")
        return found


class _Bounded(httpcore.NetworkStream):
    """A connection whose every move ends by the fetch's deadline: a server that drips bytes gains nothing."""

    def __init__(self, stream: httpcore.NetworkStream, fetch: Fetch) -> None:
        self._stream = stream
        self._fetch = fetch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._fetch.left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._fetch.left_s(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            left_s = self._fetch.left_s(timeout)
        except httpcore.TimeoutException:
            self.close()  # nobody else does, until the handshake is over
            raise
        return _Bounded(self._stream.start_tls(ssl_context, server_hostname, left_s), self._fetch)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

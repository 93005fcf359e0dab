"""The bytes of a picture at a URL that a stranger gave; guard.py says where we connect."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpcore

from ..errors import BadInput, TooLarge
from .guard import AGENT, Guard, NotPublic, NotReached, Resolver, resolve

HEADERS = {
    "Accept": "image/png, image/jpeg, image/webp",
    "Accept-Encoding": "identity",  # pictures are compressed already, and what unpacks can be a bomb
    **AGENT,
}


@dataclass(frozen=True)
class Fetch:
    """How far one fetch may go: bytes, and the moment (`time.monotonic`) by which all of it must be done."""

    field: str
    max_bytes: int
    until: float
    allow_private: bool = False
    resolver: Resolver = resolve
    trust: ssl.SSLContext | None = None

    def run(self, url: str) -> bytes:
        """The bytes at `url`, an https URL; raises `BadInput` or `TooLarge` with the field."""
        guard = Guard(self.until, self.allow_private, self.resolver, self.trust)
        try:
            return guard.send("GET", url, HEADERS, self._read)
        except NotReached as error:
            setting = " (see allow_private_urls)" if isinstance(error, NotPublic) else ""
            said = f"{self.field}: {error}{setting}; upload the picture instead"
            raise BadInput(said, field=self.field) from error

    def _read(self, response: httpcore.Response, host: str) -> bytes:
        headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status != 200:
            raise NotReached(f"{host} answered with HTTP status {response.status}")
        if headers.get(b"content-encoding", "identity").lower() != "identity":
            raise NotReached(f"{host} sent it compressed, which was not asked for")
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

"""The storage of a worker that joined a gateway: bytes go through the gateway, and only those that its jobs need.

Which keys a worker may read and write is the gateway's to say (gateway/joined.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from ..errors import Forbidden, NotSupported, StorageUnavailable, Unauthorised, Unavailable
from .link import Ask, Link
from .objects import CHUNK, Storage, check_key

OBJECTS = "/objects"
AGAIN_S = 30.0  # a gateway that starts again costs no job its pictures


class HttpStorage(Storage):
    """See `Storage`. `put`, `get`, `delete` and `list` are what a worker calls; each may be said twice."""

    def __init__(self, link: Link, again_s: float = AGAIN_S) -> None:
        self._link, self._again_s = link, again_s

    @property
    def name(self) -> str:
        """See `Storage`."""
        return self._link.url

    @property
    def can_sign(self) -> bool:
        """See `Storage`."""
        return False

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """See `Storage`; raises `LeaseLost` where the key is of a job that is held no longer, `TooLarge`."""
        with _telling("written"):
            self._link.ask(Ask("PUT", _path(key), data, content_type, again_s=self._again_s))

    def get(self, key: str) -> bytes:
        """See `Storage`; `NotFound` also for what no job of this worker needs."""
        with _telling("read"):
            return self._link.ask(Ask("GET", _path(key), again_s=self._again_s))

    def delete(self, keys: Sequence[str]) -> None:
        """See `Storage`."""
        with _telling("deleted"):
            for key in keys:
                self._link.ask(Ask("DELETE", _path(key), again_s=self._again_s))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys among the outputs of one job that is held."""
        with _telling("listed"):
            said = self._link.ask(Ask("GET", OBJECTS, params={"prefix": check_key(prefix)}, again_s=self._again_s))
            try:
                keys = [str(key) for key in json.loads(said)["keys"]]
            except (ValueError, KeyError, TypeError) as error:
                raise Unavailable("what answered is not the gateway") from error
            yield from keys

    def stream(self, key: str, chunk: int = CHUNK, only: range | None = None) -> Iterator[bytes]:
        """All that is asked for in one part, and no more of it is sent; `NotFound` comes at once, as ever."""
        with _telling("read"):
            return iter([self._link.ask(Ask("GET", _path(key), only=only, again_s=self._again_s))])

    def size(self, key: str) -> int:
        """See `Storage`; reads all of it."""
        return len(self.get(key))

    def put_new(self, key: str, data: bytes, content_type: str) -> bool:
        """Not for workers: raises `NotSupported`."""
        raise NotSupported("a worker that joined a gateway registers nothing: ask the gateway itself")

    def older(self, prefix: str, before: float) -> Iterator[str]:
        """Not for workers: raises `NotSupported`."""
        raise NotSupported("a worker that joined a gateway sweeps nothing: the gateway does")

    def signed_url(self, key: str, expires_s: float) -> str | None:
        """See `Storage`."""
        return None

    def check(self) -> None:
        """Whether the gateway answers a worker; raises `StorageUnavailable`."""
        with _telling("reached"):
            self._link.ask(Ask("GET", "/settings"))


def _path(key: str) -> str:
    return f"{OBJECTS}/{quote(check_key(key))}"


@contextmanager
def _telling(done: str) -> Iterator[None]:
    """A job keeps the message, and its owner reads it: where the gateway is goes into a note."""
    try:
        yield
    except (Unavailable, Unauthorised, Forbidden) as error:
        told = StorageUnavailable(f"artifacts cannot be {done}: the gateway cannot be reached, or refuses its worker")
        told.add_note(error.message)
        raise told from error

"""What goes over the wire and comes back, and the hands that carry it; nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Lost(Exception):
    """No answer, or half of one: what was asked may have happened or not."""


@dataclass(frozen=True)
class Request:
    """One request; `url` is absolute. `timeout_s` bounds connecting, and each silence after that.

    `may_redirect` is for one that carries no secret. The whole answer must be there by `until`, on the monotonic clock.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    timeout_s: float = 30.0
    may_redirect: bool = False
    until: float | None = None


@dataclass(frozen=True)
class Answer:
    """A whole answer; names of `headers` are in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether it is what was asked for."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Its body; raises ValueError where that is no JSON."""
        return json.loads(self.content)


class Stream(Protocol):
    """An answer whose body is still coming."""

    @property
    def status(self) -> int:
        """The answer's status."""

    def chunks(self) -> AsyncGenerator[bytes]:
        """The body as it comes; raises `Lost`."""

    async def whole(self) -> Answer:
        """Wait for all of it; raises `Lost`."""


class Hands(Protocol):
    """What a face does for the conversation. A synchronous face's hands never suspend: see blocking.py."""

    async def send(self, request: Request) -> Answer:
        """One request and its whole answer; raises `Lost`."""

    def open(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """One request whose answer is read as it comes; raises `Lost`."""

    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""

    async def work(self, function: Callable[[], T]) -> T:
        """Run what may block, such as a disk."""

    async def tell(self, listener: Callable[..., Awaitable[None] | None], said: Any) -> None:
        """Call the caller's own function; an asynchronous face waits for one that is async."""

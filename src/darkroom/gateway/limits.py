"""The outermost layer: a name for each request, a bound on its body, headers that keep browsers careful, a last resort.

Nothing that a caller sent is written to a log here: paths are, query strings (which carry signatures) are not.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import BadInput, DarkroomError, InvariantBroken, TooLarge, Unavailable
from .access import EVERYONE, GUESTS, Caller, is_of_guests
from .network import client_in, is_near
from .refusals import refusal_of

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_ID_HEADER = "X-Request-Id"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # signed URLs must not travel on in a Referer
}
MIB = 1024 * 1024
SILENCE_S = 30.0  # in the middle of a body; who says nothing for so long is let go
SHARE = 0.25  # of the bytes of all bodies, for one caller
HOUSE_SHARE, GUESTS_SHARE = 1 / 16, 0.5  # for the guests of one address, and for all guests
WORKERS_PATH = "/v1/worker/"  # of those that joined over HTTP
BODY_IS_DONE = "body_is_done"  # in a request's state: to be called once its body is forgotten

log = logging.getLogger(__name__)


class RequestName:
    """ASGI: gives each request its id (the caller's own, where it is a fair one) and hears how it ended."""

    def __init__(self, app: ASGIApp, log_prompts: bool) -> None:
        self.app, self.log_prompts = app, log_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        started, spoken = time.perf_counter(), _Spoken(send, request_id)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, spoken)
            except Exception as error:  # budget: a request's outermost loop; a stranger must not see a stack trace
                fault = told_of(scope, error, log_prompts=self.log_prompts)
                if spoken.status is None:
                    await refusal_of(scope, fault)(scope, receive, spoken)
            _log_request(scope, spoken.status, time.perf_counter() - started)


class _Spoken:
    """What was sent: adds the headers that every answer has, and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID_HEADER] = self._request_id
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        elif message["type"] in ("websocket.accept", "websocket.close"):
            self.status = self.status or 101
        await self._send(message)


class BodyLimit:
    """ASGI: stops reading a body at its limit in bytes, whether or not its length was announced.

    `budget` bounds the bodies of all requests that are under way: they lie in memory until they are answered, or until
    an answer that is waited for has forgotten them (`Later`). One caller may hold a quarter of it, or one whole
    body, guests less, and a body that stops coming is given up. Paths that it does not cover are another one's.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit_of: Callable[[str], float],
        budget: float = math.inf,
        covers: Callable[[str], bool] = lambda path: True,
    ) -> None:
        self.app, self.limit_of, self.budget, self.covers = app, limit_of, budget, covers
        self._held = 0
        self._shares: Counter[str] = Counter()  # the same bytes, by who sent them

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.covers(scope["path"]):
            await self.app(scope, receive, send)
            return
        limit = int(self.limit_of(scope["path"]))
        said = Headers(scope=scope).get("content-length", "")
        if said.isdigit() and int(said[:20]) > limit:
            await refusal_of(scope, _too_large(limit))(scope, receive, send)
            return
        if said.isdigit() and self._held + int(said) > self.budget:
            await refusal_of(scope, _too_many())(scope, receive, send)
            return
        await self._within(limit, scope, receive, send)

    async def _within(self, limit: int, scope: Scope, receive: Receive, send: Send) -> None:
        seen, owner, is_read, is_cut = 0, "", False, False

        async def counted() -> Message:
            nonlocal seen, owner, is_read, is_cut
            is_cut = not is_read  # unless this comes to its end
            message = await (receive() if is_read else _in_time(receive))
            size, owner = len(message.get("body", b"")), owner or _owner_in(scope)
            seen += size
            self._hold(owner, size)
            if seen > limit:
                raise _too_large(limit)
            if self._is_over(owner, limit):
                raise _too_many()
            is_read, is_cut = is_read or not message.get("more_body", False), False
            return message

        async def said(message: Message) -> None:
            if is_cut and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"  # the rest of the body will be read by nobody
            await send(message)

        def forget() -> None:
            nonlocal seen
            self._hold(owner, -seen)
            seen = 0

        scope.setdefault("state", {})[BODY_IS_DONE] = forget
        try:
            await self.app(scope, counted, said)
        finally:
            forget()

    def _is_over(self, owner: str, limit: int) -> bool:
        shares = {owner: HOUSE_SHARE, GUESTS: GUESTS_SHARE} if is_of_guests(owner) else {owner: SHARE} if owner else {}
        too_much = (self._shares[name] > max(limit, share * self.budget) for name, share in shares.items())
        return self._held > self.budget or any(too_much)

    def _hold(self, owner: str, size: int) -> None:
        self._held += size
        for name in (owner, GUESTS) if is_of_guests(owner) else (owner,):
            self._shares[name] += size
            if not self._shares[name]:
                del self._shares[name]


class Later(Response):
    """An answer that is waited for: for an hour, perhaps, so without the request's body in memory and in its count.

    `make` must hold nothing of that body; what the route held is gone by the time that this is called.
    """

    def __init__(self, request: Request, make: Callable[[], Awaitable[Response]]) -> None:
        super().__init__()
        self._request, self._make = request, make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Where the framework keeps what it has read, for whoever reads it again.
        self._request._body, self._request._json = b"", None
        scope["state"][BODY_IS_DONE]()
        answer = await self._make()
        await answer(scope, receive, send)


def is_of_worker(path: str) -> bool:
    """Whether what is said there is said by a worker that joined."""
    return path.startswith(WORKERS_PATH)


def told_of(scope: Scope, error: Exception, *, log_prompts: bool) -> InvariantBroken:
    """Log a fault of ours; what its caller is told of it."""
    # The message of somebody else's exception may quote what was sent; frames hold no values.
    said = str(error) if log_prompts or isinstance(error, DarkroomError) else None
    facts = {"path": scope["path"], "error": type(error).__name__, "said": said, "frames": frames(error)}
    log.error("request_failed", extra=facts)
    return InvariantBroken(f"something went wrong here; its log line has the id {scope['state']['request_id']}")


def request_id_of(said: str | None) -> str:
    """The caller's id where it fits in a log line, else a fresh one."""
    return said if said is not None and REQUEST_ID.fullmatch(said) else f"{random.getrandbits(64):016x}"


def frames(error: BaseException) -> list[str]:
    """Where it was raised, innermost last, as file:line:function."""
    found: TracebackType | None = error.__traceback__
    return [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in traceback.extract_tb(found)[-12:]]


async def _in_time(receive: Receive) -> Message:
    """The next part of a body; raises `BadInput` where it does not come."""
    try:
        async with asyncio.timeout(SILENCE_S):
            return await receive()
    except TimeoutError as error:
        raise BadInput(f"the body stopped coming: nothing for {SILENCE_S:g} s", field="body") from error


def _owner_in(scope: Scope) -> str:
    """Whose bytes they are: a tenant's, guests', an address's; "": of this machine itself, where nobody is asked."""
    caller, client = scope.get("state", {}).get("caller"), client_in(scope)
    if isinstance(caller, Caller) and caller is not EVERYONE:
        return caller.guest or f"tenant {caller.tenant}"
    return "" if is_near(client) else f"address {client}"


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body must have at most {limit / MIB:g} MiB", field="body")


def _too_many() -> Unavailable:
    return Unavailable("too much is being sent at once: send it again a little later", field="body")


def _log_request(scope: Scope, status: int | None, seconds: float) -> None:
    method = scope.get("method", "WEBSOCKET")
    facts = {"method": method, "path": scope["path"], "status": status, "seconds": round(seconds, 4)}
    if "job_id" in scope["state"]:
        facts["job_id"] = scope["state"]["job_id"]  # of a job that it made
    is_looking = scope.get("method") == "GET" or is_of_worker(scope["path"])  # those say the same all day
    is_dull = is_looking and (status or 0) < 400
    log.log(logging.DEBUG if is_dull else logging.INFO, "request", extra=facts)

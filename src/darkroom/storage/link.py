"""The connection of a worker to the gateway that it joined: one address, one key, refusals as our named errors.

`jobs/http.py` and `storage/http.py` speak through it; docs/decisions/0012-workers-over-http.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from .. import __version__
from ..errors import (
    BadInput,
    Conflict,
    DarkroomError,
    Forbidden,
    InvalidConfig,
    NotFound,
    NotSupported,
    TooLarge,
    Unauthorised,
    Unavailable,
    kind_of,
    retry_after_s,
)

SCHEMES = ("http", "https")
PREFIX = "/v1/worker"
CONNECT_S = 10.0
SILENCE_S = 30.0  # in the middle of a request; a long poll adds what it waits
IDLE_S = 50.0  # a connection is kept for so long: gateways and most proxies keep theirs for a minute
PAUSE_S = (0.25, 4.0)  # before it is asked again: the first, and the longest
BY_STATUS: Mapping[int, type[DarkroomError]] = {
    401: Unauthorised,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: Unavailable,
    501: NotSupported,
}


def is_gateway_url(url: str) -> bool:
    """Whether a store's or storage's URL is that of a gateway."""
    return urlsplit(url).scheme in SCHEMES


@dataclass(frozen=True)
class Ask:
    """One request below `PREFIX`. It is asked again for `again_s` seconds while nobody answers: only what may be
    said twice. `wait_s`: for how long the gateway may hold its answer back. `only`: the bytes wanted of the answer."""

    method: str
    path: str
    content: bytes = b""
    content_type: str = "application/json"
    params: Mapping[str, str] | None = None
    only: range | None = None
    again_s: float = 0.0
    wait_s: float = 0.0


class Link:
    """Asks the gateway at `url` with `key` ("": none is shown); any thread may. Connections are kept and used again."""

    def __init__(self, url: str, key: str = "", timeout_s: float = SILENCE_S) -> None:
        self.url = checked_url(url)
        self._timeout_s = timeout_s
        headers = {"User-Agent": f"darkroom-worker/{__version__}", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=IDLE_S)
        self._http = httpx.Client(base_url=self.url + PREFIX, headers=headers, limits=limits)

    def ask(self, asked: Ask) -> bytes:
        """The answer's body, or what was wanted of it.

        Raises `Unavailable` where nobody answers, and what the gateway refuses by its name.
        """
        until, (pause_s, longest_s) = time.monotonic() + asked.again_s, PAUSE_S
        while True:
            try:
                return self._ask_once(asked)
            except Unavailable as error:
                if time.monotonic() + pause_s > until:
                    raise
                time.sleep(max(pause_s * (0.5 + random.random() / 2), min(error.retry_after_s, longest_s) / 2))
            pause_s = min(2 * pause_s, longest_s)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def _ask_once(self, asked: Ask) -> bytes:
        timeout = httpx.Timeout(self._timeout_s + asked.wait_s, connect=min(CONNECT_S, self._timeout_s))
        headers = {"Content-Type": asked.content_type} if asked.content else {}
        headers |= {"Range": f"bytes={asked.only.start}-{asked.only.stop - 1}"} if asked.only else {}
        try:
            answer = self._http.request(
                asked.method,
                asked.path,
                content=asked.content or None,
                headers=headers,
                params=asked.params,
                timeout=timeout,
            )
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise Unavailable(f"the gateway cannot be reached: {said}") from error
        if not answer.is_success:
            raise refusal_of(answer)
        return answer.content if asked.only is None else _part_in(answer, asked.only)


def checked_url(url: str) -> str:
    """The gateway's address without what follows it; raises `InvalidConfig`."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_whole = False
    if not is_whole or parts.query or parts.fragment:
        said = "a gateway's address is https://HOST or http://HOST:PORT, and nothing after it"
        raise InvalidConfig(said, field="gateway")
    if parts.username is not None or parts.password is not None:
        raise InvalidConfig("no key belongs in a gateway's address: set DARKROOM_API_KEY", field="gateway")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/").removesuffix("/v1")


def refusal_of(answer: httpx.Response) -> DarkroomError:
    """The error that an answer tells of; whatever the gateway could not do just now is `Unavailable`.

    So is an answer in another shape than its own: a proxy on the way gave it, and its word counts for no job.
    """
    said = _said_in(answer)
    otherwise = BY_STATUS.get(answer.status_code, BadInput)
    is_busy = answer.status_code == 429 or (answer.status_code >= 500 and answer.status_code != 501)
    kind = Unavailable if is_busy or "code" not in said else kind_of(str(said["code"]), otherwise)
    field = said.get("field")
    default = f"what stands before the gateway answered {answer.status_code}"
    error = kind(str(said.get("message", default)), field=field and str(field))
    if isinstance(error, Unavailable):
        error.retry_after_s = retry_after_s(answer.headers.get("retry-after"), time.time()) or error.retry_after_s
    return error


def _part_in(answer: httpx.Response, only: range) -> bytes:
    """Those bytes of an object. A gateway of an older release, and some proxies, send all of it: then it is cut."""
    said = f"bytes {only.start}-{only.stop - 1}/"
    if answer.status_code == 206 and not answer.headers.get("content-range", "").startswith(said):
        raise Unavailable("another part came than was asked for")
    part = answer.content if answer.status_code == 206 else answer.content[only.start : only.stop]
    if len(part) != len(only):
        raise Unavailable("the part that came is shorter than was asked for")
    return part


def _said_in(answer: httpx.Response) -> Mapping[str, Any]:
    if answer.is_redirect:
        return {"message": f"the gateway sends us on to {answer.headers.get('location')}: give that address"}
    try:
        said = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return said if isinstance(said, dict) else {}

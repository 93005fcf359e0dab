"""One request to the service, asked again while that may help; whose key it carries, and what its refusal means."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from .. import __version__, config, errors
from ..errors import retry_after_s
from .refusals import refusal_of
from .retries import NEVER, NOT_NOW, Retries, Until
from .wire import Answer, Hands, Lost, Request, Stream

API = "/v1"
URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
KEY = re.compile(r"[\x21-\x7e]+")
AGENT = f"darkroom-python/{__version__}"
SILENT_S = 1.0  # so long it waits without a word, but where the service itself asks it to

log = logging.getLogger("darkroom.client")


class Postponed(Exception):
    """Not now; later it may be. `error` is what to raise where nobody waits for that."""

    def __init__(self, error: errors.DarkroomError, after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.after_s = error, after_s


@dataclass(frozen=True)
class Asking:
    """How to reach the service; `url` has no slash at its end. TimeoutError is raised where nothing comes by `end`."""

    url: str
    api_key: str | None = field(repr=False)
    hands: Hands
    retries: Retries
    timeout_s: float
    end: Until = NEVER

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Request:
        """A request under the API's root. It alone carries the key: no URL that an answer names ever does."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        whole = {"Accept": "application/json", "User-Agent": AGENT, **(headers or {}), **key}
        return Request(method, f"{self.url}{API}{path}", whole, params or {}, content, timeout_s or self.timeout_s)

    async def json(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None, **what: Any
    ) -> Any:
        """The answer's JSON; `body` is sent as JSON. Raises as `ask` does."""
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
            what["content"] = encoded(body)
        answer = await self.ask(self.request(method, path, headers=sent, **what))
        try:
            return answer.json()
        except ValueError:
            raise errors.DarkroomError(f"{answer.url} answered with no JSON: is it Darkroom?", field="url") from None

    async def ask(self, request: Request) -> Answer:
        """The answer to a request; raises the refusal, or `Unavailable` where nobody answers at all."""
        failures = 0
        while True:
            try:
                return await self.ask_once(request)
            except Postponed as postponed:
                failures += 1
                await self._pause_in_time(failures, postponed)

    async def remove(self, request: Request, was_there: bool) -> Answer | None:
        """The same for a removal, which `was_there` says was asked for before; None: an earlier try has removed it, and
        its answer was lost."""
        failures = 0
        while True:
            try:
                return await self.ask_once(request)
            except errors.NotFound:
                if not failures and not was_there:
                    raise
                return None
            except Postponed as postponed:
                failures += 1
                await self._pause_in_time(failures, postponed)

    async def _pause_in_time(self, failures: int, postponed: Postponed) -> None:
        late = f"{self.url} has not answered in time: {postponed}"
        self.end.check(late)
        await self.pause(failures, postponed)
        self.end.check(late)

    async def pause(self, failures: int, postponed: Postponed) -> None:
        """Wait before asking again after so many failures in a row; raises the error where that was the last try."""
        wait_s = self.retries.wait_s(failures, postponed.after_s)
        if wait_s is None:
            raise postponed.error
        left_s = self.end.left_s()
        wait_s = wait_s if left_s is None else min(wait_s, left_s)
        if wait_s >= SILENT_S or isinstance(postponed.error, errors.TooBusy):
            log.warning("%s: asking again in %.1f s", postponed, wait_s)
        await self.hands.sleep(wait_s)

    @asynccontextmanager
    async def opened(self, request: Request) -> AsyncGenerator[Stream]:
        """An answer to be read as it comes; raises the refusal or `Postponed`, also while it is read."""
        try:
            async with self.hands.open(request) as stream:
                if not 200 <= stream.status < 300:
                    raise _judged(await stream.whole())
                yield stream
        except Lost as lost:
            raise self._unanswered(lost) from lost

    async def ask_once(self, request: Request) -> Answer:
        """The same without asking again: raises the refusal or `Postponed`."""
        bounded = replace(request, timeout_s=self.end.most_s(request.timeout_s), until=self.end.at)
        try:
            answer = await self.hands.send(bounded)
        except Lost as lost:
            raise self._unanswered(lost) from lost
        if not answer.is_success:
            raise _judged(answer)
        return answer

    def _unanswered(self, lost: Lost) -> Postponed:
        said = f"{self.url} does not answer ({lost}): start it with `darkroom serve`"
        return Postponed(errors.Unavailable(said))


def asking_of(url: str | None, api_key: str | None, hands: Hands, timeout_s: float, retries: int) -> Asking:
    """How to reach a service; None: what the environment says. Raises `BadInput` or `InvalidConfig`."""
    said = config.load_client() if url is None or api_key is None else None
    place = said.url if url is None and said is not None else url
    key = said.api_key if api_key is None and said is not None else api_key
    if not isinstance(place, str) or not URL.fullmatch(place):
        name, refusal = ("DARKROOM_URL", errors.InvalidConfig) if url is None else ("url", errors.BadInput)
        raise refusal(f"{name} must begin with http:// or https:// and name a host, not {place!r}", field=name)
    if key and not KEY.fullmatch(key):
        raise errors.BadInput("the API key must have visible ASCII characters alone", field="api_key")
    if timeout_s <= 0:
        raise errors.BadInput(f"timeout_s must be above 0, not {timeout_s}", field="timeout_s")
    if retries < 0:
        raise errors.BadInput(f"retries must be 0 or more, not {retries}", field="retries")
    root = place.rstrip("/").removesuffix(API)  # as OpenAI's package and our own screen name it
    return Asking(root.rstrip("/"), key, hands, Retries(retries), timeout_s)


def part(name: str) -> str:
    """A name as one part of a path; raises `BadInput` for what would be no part, or another one."""
    if not isinstance(name, str) or name in ("", ".", ".."):
        raise errors.BadInput(f"{name!r} names nothing", field="id")
    return quote(name, safe="")


def job_part(job_id: str) -> str:
    """A job's id as one part of a path; raises `BadInput`."""
    if not isinstance(job_id, str) or not job_id or not all(sign.isalnum() or sign in "-_" for sign in job_id):
        raise errors.BadInput(f"{job_id!r} is no job's id: letters, digits, '-' and '_'", field="job_id")
    return quote(job_id, safe="")


def encoded(body: Any) -> bytes:
    """A body's bytes; raises `BadInput` for what JSON has no word for."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise errors.BadInput(f"the request cannot be said in JSON: {error}", field="input") from error


def _judged(answer: Answer) -> Exception:
    error = refusal_of(answer)
    if answer.status not in NOT_NOW:
        return error
    return Postponed(error, retry_after_s(answer.headers.get("retry-after"), time.time()))

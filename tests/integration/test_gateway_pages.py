"""Pages of other origins: what a browser lets their scripts send and read, as it decides by CORS (Fetch standard)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.core import Allowance

from .callers import Holder, add_key
from .gateway_site import PROMPT, Site, events_of, open_site, wait_until

PAGE = "https://studio.example"
# Safe to send for any page (Fetch, "CORS-safelisted request-header").
SAFE = {"accept", "accept-language", "content-language"}
# What `openai` 6 for JavaScript sends with a call.
STAINLESS = ("lang", "package-version", "os", "arch", "runtime", "runtime-version", "retry-count", "timeout")
OPENAI = {f"X-Stainless-{name.title()}": "x" for name in STAINLESS} | {"OpenAI-Organization": "o", "User-Agent": "x"}


class Page:
    """A page's script: it sends and reads what a browser would let it."""

    def __init__(self, site: Site, holder: Holder, origin: str = PAGE) -> None:
        self.site, self.holder, self.origin = site, holder, origin

    def fetch(self, method: str, path: str, headers: Mapping[str, str], **what: Any) -> tuple[int, dict[str, str], Any]:
        """The status, the headers that the script may read, and the JSON."""
        sent = {**headers, **self.holder.headers, **({"Content-Type": "application/json"} if "json" in what else {})}
        asked = {"Origin": self.origin, "Access-Control-Request-Method": method}
        asked["Access-Control-Request-Headers"] = ",".join(sorted(name.lower() for name in sent))
        allowed = self.site.http.options(path, headers=asked)
        assert allowed.status_code == 204
        self._check_readable(allowed)
        assert method in words(allowed, "access-control-allow-methods")
        assert {name.lower() for name in sent} - SAFE <= words(allowed, "access-control-allow-headers", lower=True)
        answer = self.site.http.request(method, path, headers={**sent, "Origin": self.origin}, **what)
        return answer.status_code, self.readable(answer), answer.json()

    def readable(self, answer: httpx.Response) -> dict[str, str]:
        self._check_readable(answer)
        shown = words(answer, "access-control-expose-headers", lower=True)
        return {name: value for name, value in answer.headers.items() if name in shown}

    def _check_readable(self, answer: httpx.Response) -> None:
        assert answer.headers["access-control-allow-origin"] == self.origin
        assert "Origin" in answer.headers["vary"]


def words(answer: httpx.Response, header: str, *, lower: bool = False) -> set[str]:
    """The words of a header."""
    said = answer.headers[header]
    return {word.strip() for word in (said.lower() if lower else said).split(",")}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path, auth="keys", allowed_origins=(PAGE,)) as found:
        yield found


@pytest.fixture
def page(site: Site) -> Page:
    ann = add_key(site.store, "ann", allowance=Allowance(live_jobs=1))
    wait_until(lambda: site.http.get("/auth/me", headers=ann.headers).status_code == 200)
    return Page(site, ann)


def test_openais_client_for_javascript_may_send_what_it_sends_and_read_why_it_is_refused(page: Page) -> None:
    call: dict[str, Any] = {"json": {"prompt": "a lake", "quality": "nonsense"}}
    status, shown, said = page.fetch("POST", "/v1/images/generations", OPENAI, **call)
    assert (status, said["error"]["type"]) == (400, "invalid_request_error")
    assert {"x-request-id", "x-should-retry"} <= set(shown)


def test_a_page_reads_where_its_job_is_and_when_to_come_back(page: Page) -> None:
    call: dict[str, Any] = {"json": {"input": PROMPT}}
    status, shown, job = page.fetch("POST", "/v1/jobs", {"Idempotency-Key": "k", "Prefer": "wait=0"}, **call)
    assert (status, shown["location"].endswith(job["id"])) == (202, True)
    assert page.fetch("POST", "/v1/jobs", {"Idempotency-Key": "k"}, **call)[1]["idempotency-replayed"] == "true"
    status, shown, _ = page.fetch("POST", "/v1/jobs", {}, **call)
    assert (status, int(shown["retry-after"]) >= 1) == (429, True)
    assert page.fetch("PATCH", f"/v1/jobs/{job['id']}", {}, json={"priority": 3})[0] == 200


def test_an_event_source_reads_with_a_token_and_no_header_of_its_own(page: Page) -> None:
    token = page.fetch("POST", "/v1/tokens", {})[2]["token"]
    _, _, job = page.fetch("POST", "/v1/jobs", {}, json={"input": PROMPT})
    path, headers = f"/v1/jobs/{job['id']}/events?token={token}", {"Origin": PAGE, "Accept": "text/event-stream"}
    with page.site.http.stream("GET", path, headers=headers) as stream:  # a simple request: nothing is asked before
        page.readable(stream)
        assert events_of(stream.iter_lines(), lambda event: event["type"] == "queued")


def test_headers_that_nobody_needs_are_not_allowed(page: Page) -> None:
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    for header in ("x-forwarded-for", "cookie", "x-stainless-", "x-stainless-a b", "x-stainless-" + "a" * 99):
        answer = page.site.http.options("/v1/jobs", headers={**asked, "Access-Control-Request-Headers": header})
        assert header not in words(answer, "access-control-allow-headers", lower=True)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images/generations"])
def test_a_page_that_is_not_listed_is_allowed_nothing(page: Page, path: str) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = page.site.http.options(path, headers=asked)
    assert answer.status_code == 403
    assert not any(name.startswith("access-control") for name in answer.headers)

"""What one caller may hold of a gateway that others share: bytes, fetches, streams, the event loop, a revoked key."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.core import Allowance
from darkroom.gateway.fetches import AT_ONCE, IN_LINE

from .callers import Holder, known
from .gateway_site import PROMPT, Site, open_site, picture, wait_until

KIB = 1024
QUICK_S = 0.2


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path, auth="keys") as found:
        yield found


def begin(site: Site, path: str, headers: dict[str, str], body: bytes, length: int) -> socket.socket:
    """A request whose body says `length` bytes, and of which these are sent."""
    connection = socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1])), timeout=60)
    said = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(length), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    connection.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return connection


# ---- bodies ----


def test_bodies_that_one_caller_leaves_unfinished_keep_nobody_else_out(tmp_path: Path) -> None:
    mib = 64 / KIB
    with open_site(tmp_path, auth="keys", max_upload_mb=mib, max_body_mb=mib, max_bodies_mb=8 * mib) as site:
        ann, eve = known(site, "ann"), known(site, "eve")

        def upload(holder: Holder, data: bytes) -> int:
            return httpx.post(f"{site.url}/v1/uploads", content=data, headers=holder.headers).status_code

        large = b"x" * 20 * KIB  # no picture, so where it is read it is refused as such

        with ExitStack() as stack:
            for _ in range(12):  # more than all together may be
                stack.enter_context(begin(site, "/v1/uploads", eve.headers, b"x" * 60 * KIB, 64 * KIB))
            wait_until(lambda: upload(eve, large) == 503)
            assert [upload(ann, picture()) for _ in range(4)] == [201] * 4
            assert site.submit(headers=ann.headers)["state"] == "queued"
        wait_until(lambda: upload(eve, large) == 400)


def test_a_body_that_stops_coming_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.gateway.limits.SILENCE_S", QUICK_S)
    ann = known(site, "ann")
    for path in ("/v1/uploads", "/v1/jobs", "/generate", "/v1/images/generations"):
        with begin(site, path, ann.headers, b"{", 100) as connection:
            said = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
        assert said.startswith("HTTP/1.1 400 "), said
        assert "connection: close" in said.lower()
        assert "the body stopped coming" in said


def test_who_listens_in_silence_is_not_taken_for_one_who_stops_sending(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.gateway.limits.SILENCE_S", QUICK_S)
    ann = known(site, "ann")
    job_id = site.submit(headers=ann.headers)["id"]
    with site.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=ann.headers) as stream:
        lines = stream.iter_lines()
        assert "queued" in "".join(next(lines) for _ in range(3))
        time.sleep(3 * QUICK_S)
        site.store.cancel(job_id, time.time())
        assert "cancelled" in "".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        '{"input": {"prompt": "x", "image": [' + "1," * 20_000 + "1]}}",
        '{"input": {"prompt": "x"}, "metadata": ' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}",
        "[" * 20_000,
    ],
)
def test_a_body_of_too_many_values_is_refused_unread(site: Site, text: str) -> None:
    ann = known(site, "ann")
    headers = {**ann.headers, "Content-Type": "application/json"}
    status, error = site.refused("POST", "/v1/jobs", content=text, headers=headers)
    assert (status, error["code"], error["field"]) == (400, "bad_input", "body")
    assert "10000 brackets and commas" in error["message"]
    for path in ("/generate", "/v1/images/generations"):
        answer = site.http.post(path, content=text, headers=headers)
        assert (answer.status_code, "brackets and commas" in answer.text) == (400, True)


def test_a_long_body_of_few_values_is_read(site: Site) -> None:
    ann = known(site, "ann")
    long = {"input": {**PROMPT, "image": f"data:image/png;base64,{'A' * 2 * KIB * KIB}"}}
    status, error = site.refused("POST", "/v1/jobs", json=long, headers=ann.headers)
    assert (status, error["code"], error["field"]) == (400, "unreadable_image", "image")
    headers = {**ann.headers, "Content-Type": "application/json"}
    status, error = site.refused("POST", "/v1/jobs", content=json.dumps(long)[:-1], headers=headers)
    assert (status, "no JSON" in error["message"]) == (400, True)


# ---- fetches ----


@contextmanager
def silent_place() -> Iterator[tuple[socket.socket, str]]:
    """A server that takes connections and says nothing, and a picture's URL there."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server, f"https://127.0.0.1:{server.getsockname()[1]}/picture.png"


def accepted_by(server: socket.socket, stack: ExitStack, within_s: float) -> int:
    """How many connect in that time."""
    server.settimeout(within_s)
    count = 0
    try:
        while True:
            stack.enter_context(server.accept()[0])
            count += 1
    except TimeoutError:
        return count


def test_one_tenants_pictures_from_elsewhere_have_two_threads_and_a_short_line(tmp_path: Path) -> None:
    with (
        ExitStack() as stack,
        open_site(tmp_path, auth="keys", allow_private_urls=True) as site,
        silent_place() as (server, url),
        ExitStack() as reached,
    ):
        ann, eve = known(site, "ann"), known(site, "eve")
        body = json.dumps({"input": {**PROMPT, "image": url}}).encode()
        for _ in range(AT_ONCE + IN_LINE):
            stack.enter_context(begin(site, "/v1/jobs", eve.headers, body, len(body)))
        assert accepted_by(server, reached, 1.0) == AT_ONCE
        status, error = site.refused("POST", "/v1/jobs", content=body, headers=as_json(eve))
        assert (status, error["code"]) == (429, "too_busy")
        stack.enter_context(begin(site, "/v1/jobs", ann.headers, body, len(body)))
        assert accepted_by(server, reached, 1.0) == 1
        reached.close()  # those give up, and the next have their turn
        assert accepted_by(server, reached, 1.0) >= 1
        server.close()


def test_nothing_is_fetched_for_a_key_that_may_send_no_job(tmp_path: Path) -> None:
    with (
        open_site(tmp_path, auth="keys", allow_private_urls=True) as site,
        silent_place() as (server, url),
        ExitStack() as reached,
    ):
        ann = known(site, "ann", allowance=Allowance(live_jobs=1))
        site.submit(headers=ann.headers)
        body = json.dumps({"input": {**PROMPT, "image": url}})
        status, error = site.refused("POST", "/v1/jobs", content=body, headers=as_json(ann))
        assert (status, error["code"], error["field"]) == (429, "limit_exceeded", "live_jobs")
        assert accepted_by(server, reached, QUICK_S) == 0


def as_json(holder: Holder) -> dict[str, str]:
    return {**holder.headers, "Content-Type": "application/json"}


# ---- streams ----


def test_one_tenants_streams_leave_room_for_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.gateway.events.MAX_OF_ONE", 2)
    ann, eve = known(site, "ann"), known(site, "eve")
    place = f"/v1/jobs/{site.submit(headers=eve.headers)['id']}"
    theirs = f"/v1/jobs/{site.submit(headers=ann.headers)['id']}"
    with site.socket(f"{place}/ws", **eve.headers) as first, site.socket(f"{place}/ws", **eve.headers):
        first.recv(timeout=60)
        status, error = site.refused("GET", f"{place}/events", headers=eve.headers)
        assert (status, error["code"]) == (429, "too_busy")
        waited = {**eve.headers, "Prefer": "wait=60"}
        assert site.http.post("/v1/jobs", json={"input": PROMPT}, headers=waited).status_code == 202  # at once
        with site.socket(f"{theirs}/ws", **ann.headers) as another:
            another.recv(timeout=60)
    site.store.cancel(place.rpartition("/")[2], time.time())
    wait_until(lambda: site.http.get(f"{place}/events", headers=eve.headers).status_code == 200)


# ---- keys that end ----


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/jobs", {"input": PROMPT}), ("/v1/images/generations", {"prompt": "a lake"})]
)
def test_a_call_that_waits_ends_with_its_key(
    site: Site, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    for room in ("desk", "dialects.openai"):
        monkeypatch.setattr(f"darkroom.gateway.{room}.BEAT_S", QUICK_S)
    ann = known(site, "ann")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(site.http.post, path, json=body, headers={**ann.headers, "Prefer": "wait=60"})
        wait_until(lambda: site.store.queue().queued == 1)
        site.store.revoke_key(ann.id, time.time())
        began = time.monotonic()
        assert call.result().status_code == 401
        assert time.monotonic() - began < 30
    wait_until(lambda: site.store.queue().queued == (1 if path == "/v1/jobs" else 0))


def test_a_token_reads_no_webhooks_and_tells_its_keys_own_limits(site: Site) -> None:
    ann = known(site, "ann", "operator", allowance=Allowance(live_jobs=7), weight=3.0, priority_class="low")
    job_id = site.submit(headers=ann.headers)["id"]
    token = site.http.post("/v1/tokens", headers=ann.headers).json()["token"]
    status, error = site.refused("GET", f"/v1/jobs/{job_id}/webhooks?token={token}")
    assert (status, error["field"]) == (403, "token")
    said = site.http.get(f"/v1/usage?token={token}").json()
    assert (said["limits"]["live_jobs"], said["weight"], said["priority_class"]) == (7, 3.0, "low")
    assert said["used"]["live_jobs"] == 1
    assert site.http.get(f"/v1/workers?token={token}").status_code == 403

"""Uploads and artifacts: what comes in, and who gets it out."""

from __future__ import annotations

import io
import json
import random
import shutil
import socket
import struct
import time
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.requests import HTTPConnection

from darkroom.gateway.access import OPERATOR, USER, Caller
from darkroom.gateway.signing import ROUND_S, VALID_S
from darkroom.gateway.threads import FETCH_THREADS
from darkroom.jobs.store import JobFilter

from .gateway_site import Site, open_site, picture, wait_until

MIB = 1024 * 1024
THEIRS = {"X-Tenant": "theirs"}
OPERATORS = {"X-Tenant": "desk", "X-Role": "operator"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house")) as site:
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as found:
        yield found


def named(connection: HTTPConnection) -> Caller:
    """Callers as keys will tell them apart: here a header says who it is."""
    role = {"operator": frozenset({OPERATOR})}.get(connection.headers.get("X-Role", ""), frozenset({USER}))
    return Caller(connection.headers.get("X-Tenant", "local"), role)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Site]:
    """A gateway with several tenants."""
    with open_site(tmp_path, parts={"identify": named}) as found:
        yield found


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_upload_comes_out_as_it_went_in(house: Site, kind: str) -> None:
    data = picture(192, 128, kind)
    answer = house.http.post("/v1/uploads", content=data)
    assert answer.status_code == 201
    said = answer.json()
    assert (said["content_type"], said["size"]) == (f"image/{kind.lower()}", len(data))
    assert (said["width"], said["height"]) == (192, 128)
    got = house.http.get(f"/v1/artifacts/{said['artifact_id']}")
    assert (got.status_code, got.content) == (200, data)
    assert got.headers["content-type"] == f"image/{kind.lower()}"
    assert got.headers["content-length"] == str(len(data))
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in got.headers["cache-control"]
    assert "sandbox" in got.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("said", "first", "last"), [("bytes=0-1", 0, 1), ("bytes=100-", 100, None), ("bytes=-7", -7, None)]
)
def test_a_part_is_read_alone_and_comes_with_its_own_length(
    house: Site, said: str, first: int, last: int | None
) -> None:
    data = picture(192, 128, "PNG")
    place = f"/v1/artifacts/{house.http.post('/v1/uploads', content=data).json()['artifact_id']}"
    part = data[first : None if last is None else last + 1]
    at = data.index(part) if first >= 0 else len(data) + first
    got = house.http.get(place, headers={"Range": said})
    assert (got.status_code, got.content, got.headers["content-length"]) == (206, part, str(len(part)))
    assert got.headers["content-range"] == f"bytes {at}-{at + len(part) - 1}/{len(data)}"
    assert house.http.get(place, headers={"Range": f"bytes={len(data)}-"}).status_code == 416


def test_a_client_that_has_the_bytes_is_told_so(house: Site) -> None:
    artifact_id = house.http.post("/v1/uploads", content=picture()).json()["artifact_id"]
    tag = house.http.get(f"/v1/artifacts/{artifact_id}").headers["etag"]
    for said in (tag, f"W/{tag}", f'"other", {tag}'):
        got = house.http.get(f"/v1/artifacts/{artifact_id}", headers={"If-None-Match": said})
        assert (got.status_code, got.content, got.headers["etag"]) == (304, b"", tag)
    assert house.http.get(f"/v1/artifacts/{artifact_id}", headers={"If-None-Match": '"other"'}).status_code == 200


def moving() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "bad_input"),
        (b"no picture", "unreadable_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "unreadable_image"),
        (b"<html><script>alert(1)</script>", "unreadable_image"),
        (picture()[:-200], "unreadable_image"),
        (moving(), "unreadable_image"),
    ],
    ids=["nothing", "text", "svg", "html", "cut off", "moving"],
)
def test_what_is_no_picture_is_refused(house: Site, content: bytes, code: str) -> None:
    status, error = house.refused("POST", "/v1/uploads", content=content)
    assert (status, error["code"], error["field"]) == (400, code, "body")


def test_a_form_is_refused_with_what_to_send_instead(house: Site) -> None:
    status, error = house.refused("POST", "/v1/uploads", files={"file": ("x.png", picture())})
    assert (status, error["code"]) == (400, "bad_input")
    assert "--data-binary" in error["message"]


def test_an_upload_past_its_limit_is_too_large_announced_or_not(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    with open_site(tmp_path, max_upload_mb=0.01, max_body_mb=0.02) as site:
        for path in ("/v1/uploads", "/v1/jobs", "/generate"):
            for content in (b"x" * 64 * 1024, parts()):
                headers = {"Content-Type": "application/json"}
                answer = httpx.post(f"{site.url}{path}", content=content, headers=headers)
                assert answer.status_code == 413, (path, answer.text)
                assert answer.headers["connection"] == "close"
        status, error = site.refused("POST", "/v1/uploads", content=b"x" * 64 * 1024)
        assert (status, error["code"], error["field"]) == (413, "too_large", "body")
        assert list(site.storage.list()) == []


@pytest.mark.parametrize("is_announced", [True, False])
def test_bodies_of_all_requests_have_a_bound_together(tmp_path: Path, is_announced: bool) -> None:
    with open_site(tmp_path, max_upload_mb=0.05, max_body_mb=0.05, max_bodies_mb=0.05) as site:
        place = ("127.0.0.1", int(site.url.rsplit(":", 1)[1]))
        with socket.create_connection(place) as slow:
            slow.sendall(
                b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52420\r\n\r\n" + b"x" * 52_400
            )
            wait_until(lambda: upload(site, is_announced).status_code == 503)
            answer = upload(site, is_announced)
            assert (answer.json()["error"]["code"], answer.headers["retry-after"]) == ("unavailable", "1")
            assert site.http.get("/healthz").status_code == 200
        wait_until(lambda: upload(site, is_announced).status_code == 201)


ASKS: dict[str, tuple[str, dict[str, str], Callable[[bytes], dict[str, Any]]]] = {
    "an edit": (
        "/v1/images/edits",
        {},
        lambda data: {"data": {"prompt": "x"}, "files": {"image": ("a.png", data, "image/png")}},
    ),
    "a stream of an edit": (
        "/v1/images/edits",
        {},
        lambda data: {"data": {"prompt": "x", "stream": "true"}, "files": {"image": ("a.png", data, "image/png")}},
    ),
    "a job": (
        "/v1/jobs",
        {"Prefer": "wait=60"},
        lambda data: {"json": {"input": {"prompt": "x", "image": f"data:image/png;base64,{b64encode(data).decode()}"}}},
    ),
}


@pytest.mark.parametrize("ask", ASKS)
def test_who_waits_for_a_job_holds_no_body(tmp_path: Path, ask: str) -> None:
    path, headers, said_of = ASKS[ask]
    data = heavy(MIB)
    limits = {"max_upload_mb": 2.0, "max_body_mb": 2.0, "max_bodies_mb": 3.0}
    with open_site(tmp_path, **limits) as site, ThreadPoolExecutor(4) as pool, httpx.Client(timeout=60) as client:
        request = client.build_request("POST", f"{site.url}{path}", headers=headers, **said_of(data))
        request.read()  # one body in memory for all that send it

        def send() -> int:
            return client.send(
                httpx.Request("POST", request.url, headers=request.headers, content=request.content)
            ).status_code

        tracemalloc.start()
        try:
            waiting = []
            for count in range(1, 5):
                waiting.append(pool.submit(send))
                wait_until(lambda count=count: site.store.queue().queued == count or waiting[-1].done())  # type: ignore[misc]
                assert not waiting[-1].done(), waiting[-1].result()
            assert site.http.post("/v1/jobs", json={"input": {"prompt": "x"}}).status_code == 202
            wait_until(lambda: tracemalloc.get_traced_memory()[0] < 3 * MIB)  # of four pictures
        finally:
            tracemalloc.stop()
        for job in site.store.list_jobs(JobFilter()).jobs:
            site.store.cancel(job.id, time.time())
        assert {each.result(60) for each in waiting} <= {200, 409}


def heavy(size: int) -> bytes:
    """A PNG with a private chunk of that many bytes, which nobody need look at."""
    png, chunk = picture(192, 192), b"daRk" + random.Random(1).randbytes(size)
    return png[:33] + struct.pack(">I", size) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]


def upload(site: Site, is_announced: bool) -> httpx.Response:
    """A picture, with its length said or not."""
    return httpx.post(f"{site.url}/v1/uploads", content=picture() if is_announced else iter([picture()]))


def test_an_upload_can_be_removed_and_is_gone_then(site: Site) -> None:
    artifact_id = site.http.post("/v1/uploads", content=picture()).json()["artifact_id"]
    assert site.http.delete(f"/v1/artifacts/{artifact_id}").status_code == 204
    assert list(site.storage.list("uploads")) == []
    for method in ("GET", "DELETE"):
        status, error = site.refused(method, f"/v1/artifacts/{artifact_id}")
        assert (status, error["code"]) == (404, "not_found")


@pytest.mark.parametrize("artifact_id", ["art-nowhere", "..%2f..%2fjobs.sqlite3", "%00", "x" * 300])
def test_an_unknown_artifact_is_not_found(house: Site, artifact_id: str) -> None:
    for method in ("GET", "DELETE"):
        status, error = house.refused(method, f"/v1/artifacts/{artifact_id}")
        assert (status, error["code"]) == (404, "not_found")


def finished(site: Site, **headers: str) -> dict[str, Any]:
    answer = site.http.post("/v1/jobs", json={"input": {"prompt": "x"}}, headers=headers)
    assert answer.status_code == 202, answer.text
    _, lease = site.claim()
    site.complete(lease)
    found: dict[str, Any] = site.http.get(f"/v1/jobs/{answer.json()['id']}", headers=headers).json()
    return found


def test_another_tenant_sees_nothing_of_a_job_and_an_operator_everything(shared: Site) -> None:
    job = finished(shared)
    path = f"/v1/jobs/{job['id']}"
    for method, at in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/events"), ("PATCH", "")):
        body = {"json": {"priority": 1}} if method == "PATCH" else {}
        status, error = shared.refused(method, f"{path}{at}", headers=THEIRS, **body)
        assert (status, error["code"]) == (404, "not_found")
    assert shared.http.get(f"/jobs/{job['id']}", headers=THEIRS).status_code == 404
    assert shared.http.get("/v1/jobs", headers=THEIRS).json()["data"] == []
    assert shared.http.get(path, headers=OPERATORS).status_code == 200
    assert [each["id"] for each in shared.http.get("/v1/jobs", headers=OPERATORS).json()["data"]] == [job["id"]]
    assert shared.http.get("/v1/jobs?tenant=other", headers=OPERATORS).json()["data"] == []
    assert shared.http.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/v1/workers", "/metrics", "/v1/jobs?tenant=theirs"])
def test_what_is_for_operators_is_for_nobody_else(shared: Site, path: str) -> None:
    status, error = shared.refused("GET", path)
    assert (status, error["code"]) == (403, "forbidden")
    assert shared.http.get(path, headers=OPERATORS).status_code == 200


def test_another_tenants_picture_cannot_be_used(shared: Site) -> None:
    artifact_id = shared.http.post("/v1/uploads", content=picture()).json()["artifact_id"]
    body = {"json": {"input": {"prompt": "x", "image": artifact_id}}}
    status, error = shared.refused("POST", "/v1/jobs", headers=THEIRS, **body)
    assert (status, error["field"]) == (400, "image")
    assert shared.http.post("/v1/jobs", **body).status_code == 202


def test_a_picture_is_for_its_owner_operators_and_whoever_holds_its_url(shared: Site) -> None:
    [output] = finished(shared)["outputs"]
    path = f"/v1/artifacts/{output['artifact_id']}"
    assert shared.http.get(path).status_code == 200
    assert shared.http.get(path, headers=OPERATORS).status_code == 200
    assert shared.refused("GET", path, headers=THEIRS)[0] == 404
    assert shared.refused("DELETE", path, headers=THEIRS)[0] == 404
    signed = shared.http.get(output["url"], headers=THEIRS)
    assert (signed.status_code, signed.content) == (200, picture())
    assert signed.headers["cross-origin-resource-policy"] == "cross-origin"


def test_a_changed_or_expired_url_is_refused(tmp_path: Path) -> None:
    now = [time.time()]
    with open_site(tmp_path, parts={"identify": named, "clock": lambda: now[0]}) as site:
        [output] = finished(site)["outputs"]
        [other] = finished(site)["outputs"]
        url, query = output["url"], output["url"].partition("?")[2]
        for wrong in (url[:-2] + "xx", f"/v1/artifacts/{other['artifact_id']}?{query}", f"{url}x"):
            status, error = site.refused("GET", wrong, headers=THEIRS)
            assert (status, error["code"], error["field"]) == (403, "forbidden", "signature")
        now[0] += VALID_S + ROUND_S + 1
        status, error = site.refused("GET", url, headers=THEIRS)
        assert (status, error["field"]) == (403, "expires")
        assert site.http.get(url).status_code == 200  # its owner needs no signature


def test_storage_that_cannot_be_written_is_unavailable_and_nothing_is_accepted(site: Site) -> None:
    folder = site.parts.settings.home / "artifacts"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    for path, what in (
        ("/v1/uploads", {"content": picture()}),
        ("/v1/jobs", {"json": {"input": {"prompt": "x", "image": _data_url()}}}),
    ):
        status, error = site.refused("POST", path, **what)
        assert (status, error["code"]) == (503, "storage_unavailable")
        assert str(folder) not in error["message"]
    assert int(site.http.post("/v1/uploads", content=picture()).headers["retry-after"]) >= 1
    assert site.store.queue().queued == 0


def test_bytes_that_are_gone_are_not_found(site: Site) -> None:
    [output] = finished(site)["outputs"]
    site.storage.delete(list(site.storage.list("outputs")))
    status, error = site.refused("GET", f"/v1/artifacts/{output['artifact_id']}")
    assert (status, error["code"]) == (404, "not_found")


def _data_url() -> str:
    import base64

    return f"data:image/png;base64,{base64.b64encode(picture()).decode()}"


# CPython's wrap_socket lets go of a socket that was reset before its handshake without closing it; the collector does.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_pictures_that_are_slow_to_come_hold_up_nobody_else(tmp_path: Path) -> None:
    """More of them than there are threads, from a place that takes the connection and says nothing."""
    with ExitStack() as stack:
        site = stack.enter_context(open_site(tmp_path, allow_private_urls=True, parts={"identify": named}))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        job_id = str(site.submit()["id"])
        _, lease = site.claim()
        [output] = site.complete(lease).outputs
        place = f"https://127.0.0.1:{silent.getsockname()[1]}/picture.png"
        body = json.dumps({"input": {"prompt": "x", "image": place}})
        for number in range(2 * FETCH_THREADS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1]))))
            head = f"Host: localhost\r\nX-Tenant: t{number}\r\nContent-Type: application/json\r\n"
            client.sendall(f"POST /v1/jobs HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        reached = [stack.enter_context(silent.accept()[0]) for _ in range(FETCH_THREADS)]
        assert len(reached) == FETCH_THREADS
        quick = httpx.Timeout(5.0)  # a fetch takes longer to be given up
        assert site.http.get(f"/v1/jobs/{job_id}", timeout=quick).json()["outputs"]
        assert site.http.get(f"/v1/artifacts/{output.id}", timeout=quick).status_code == 200
        given = {"input": {"prompt": "x", "image": _data_url()}}
        assert site.http.post("/v1/jobs", json=given, timeout=quick).status_code == 202
        for each in reached:
            each.close()

"""Keys and roles over HTTP: who is asked, who may do what, and that nothing opens by mistake."""

from __future__ import annotations

import json
import logging
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from darkroom.core import Artifact
from darkroom.gateway.app import ROUTERS
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits
from darkroom.storage.objects import key_for_output

from .callers import Holder, add_key
from .gateway_site import PROMPT, Site, open_site, picture, wait_until

OPEN = {"/healthz", "/readyz", "/auth/login", "/auth/callback", "/auth/logout", "/auth/ways"}
# What a worker's key opens beside those.
FOR_ANY_KEY = {("GET", "/v1/models"), ("GET", "/v1/models/{}"), ("GET", "/auth/me")}
WORKERS = "/v1/worker/"  # what a worker's key does there is in test_joined.py
FOR_OPERATORS = {("GET", "/v1/workers"), ("POST", "/v1/workers/{}/drain"), ("GET", "/metrics")}
FOR_OPERATORS |= {("DELETE", "/v1/adapters/{}"), ("GET", "/v1/fleet")}


def routes() -> list[tuple[str, str]]:
    """Method and path of every route there is; WS for WebSockets."""
    every = [route for router in ROUTERS for route in router.routes]
    found = [(method, route) for route in every for method in sorted(getattr(route, "methods", None) or {"WS"})]
    return [(method, re.sub(r"\{\w+\}", "{}", getattr(route, "path", ""))) for method, route in found]


ASKED = [each for each in routes() if each[1] not in OPEN]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path, auth="keys") as found:
        yield found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), auth="keys") as found:
        yield found


@pytest.fixture(scope="module")
def people(house: Site) -> dict[str, Holder]:
    """Ann and Bob, who runs it, and a worker."""
    made = {
        "ann": add_key(house.store, "ann"),
        "eve": add_key(house.store, "eve"),
        "bob": add_key(house.store, "bob", "operator"),
        "worker": add_key(house.store, "machines", "worker"),
    }
    wait_until(lambda: answers(house, made["worker"]) == 200)
    return made


def answers(site: Site, holder: Holder) -> int:
    """The status that a key gets where any key will do."""
    return site.http.get("/auth/me", headers=holder.headers).status_code


def ask(site: Site, method: str, path: str, headers: dict[str, str], thing: str = "some") -> tuple[int, str, Any]:
    """Status, body and headers of a request, on HTTP and WebSocket alike."""
    path = path.replace("{}", thing)
    if method == "WS":
        with pytest.raises(InvalidStatus) as caught, site.socket(path, **headers):
            pass
        answer = caught.value.response
        return answer.status_code, answer.body.decode(), answer.headers
    body = {"json": {"prompt": "x", "input": {"prompt": "x"}}} if method in ("POST", "PATCH") else {}
    said = site.http.request(method, path, headers=headers, **body)
    return said.status_code, said.text, said.headers


# ---- who is asked ----


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_no_route_answers_without_a_key(house: Site, method: str, path: str) -> None:
    status, text, headers = ask(house, method, path, {})
    assert status == 401, text
    assert headers["www-authenticate"] == 'Bearer realm="darkroom"'
    assert "darkroom keys create" in text


def test_the_description_says_where_a_key_is_asked_for(house: Site) -> None:
    for path, methods in house.http.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            assert path in OPEN or "401" in operation["responses"], (method, path)


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/openapi.json"])
def test_what_says_nothing_of_anybody_is_open(house: Site, path: str) -> None:
    assert house.http.get(path).status_code == 200
    assert house.http.get("/readyz").status_code in (200, 503)


@pytest.mark.parametrize(("method", "path"), [each for each in ASKED if not each[1].startswith(WORKERS)])
def test_a_workers_key_opens_models_alone(house: Site, people: dict[str, Holder], method: str, path: str) -> None:
    status, text, _ = ask(house, method, path, people["worker"].headers, "landscapes")
    assert status == (200 if (method, path) in FOR_ANY_KEY else 403), text


@pytest.mark.parametrize(("method", "path"), sorted(FOR_OPERATORS))
def test_operators_routes_are_for_operators(house: Site, people: dict[str, Holder], method: str, path: str) -> None:
    assert (method, path) in ASKED
    assert ask(house, method, path, people["ann"].headers)[0] == 403
    assert ask(house, method, path, people["bob"].headers)[0] in (200, 404)


def test_what_is_somebody_elses_is_not_there_by_any_route(house: Site, people: dict[str, Holder]) -> None:
    job_id = house.submit(headers=people["ann"].headers)["id"]
    upload = house.http.post("/v1/uploads", content=picture(), headers=people["ann"].headers).json()["artifact_id"]
    things = {job_id: [each for each in ASKED if "jobs/{}" in each[1]], upload: [("GET", "/v1/artifacts/{}")]}
    things[upload].append(("DELETE", "/v1/artifacts/{}"))
    for thing, paths in things.items():
        for method, path in paths:
            filled = path.replace("{}", thing, 1)
            body = {"priority": 1} if method == "PATCH" else None
            if method == "WS":
                status = ask(house, method, filled, people["eve"].headers)[0]
            else:
                filled = filled.replace("{}", "other")
                status = house.http.request(method, filled, headers=people["eve"].headers, json=body).status_code
            assert status == 404, (method, path)
    taken = house.http.post("/v1/jobs", json={"input": {**PROMPT, "image": upload}}, headers=people["eve"].headers)
    assert (taken.status_code, taken.json()["error"]["field"]) == (400, "image")
    assert house.http.get(f"/v1/jobs/{job_id}", headers=people["ann"].headers).json()["state"] == "queued"
    assert house.http.get(f"/v1/artifacts/{upload}", headers=people["ann"].headers).status_code == 200


def test_lists_hold_ones_own_jobs_and_an_operators_hold_all(house: Site, people: dict[str, Holder]) -> None:
    made = {name: house.submit(headers=people[name].headers)["id"] for name in ("ann", "eve")}

    def listed(name: str, query: str = "") -> set[str]:
        said = house.http.get(f"/v1/jobs?limit=200{query}", headers=people[name].headers).json()["data"]
        return {job["id"] for job in said}

    assert listed("ann") & set(made.values()) == {made["ann"]}
    assert listed("bob") >= set(made.values())
    assert listed("bob", "&tenant=eve") & set(made.values()) == {made["eve"]}
    status, error = house.refused("GET", "/v1/jobs?tenant=eve", headers=people["ann"].headers)
    assert (status, error["code"]) == (403, "forbidden")
    assert house.http.get(f"/v1/jobs/{made['ann']}", headers=people["bob"].headers).json()["tenant"] == "ann"


# ---- keys ----


def test_a_first_key_closes_the_door_and_revoking_it_does_not_open_it_again(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        assert site.http.get("/v1/jobs").status_code == 200
        ann = add_key(site.store, "ann")
        wait_until(lambda: site.http.get("/v1/jobs").status_code == 401)
        assert site.http.get("/v1/jobs", headers=ann.headers).status_code == 200
        site.store.revoke_key(ann.id, time.time())
        wait_until(lambda: site.http.get("/v1/jobs", headers=ann.headers).status_code == 401)
        assert site.http.get("/v1/jobs").status_code == 401
    with open_site(tmp_path) as site:
        assert site.http.get("/v1/jobs").status_code == 401


def test_a_store_that_was_emptied_opens_nothing(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        ann = add_key(site.store, "ann")
        wait_until(lambda: site.http.get("/v1/jobs").status_code == 401)
        with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as database, database:
            [table] = [name for (name,) in database.execute("SELECT name FROM sqlite_master") if "api_key" in name][:1]
            database.execute(f"DELETE FROM {table}")
        wait_until(lambda: answers(site, ann) == 401)
        assert site.http.get("/v1/jobs").status_code == 401


def test_keys_are_asked_for_by_setting_before_there_are_any(site: Site) -> None:
    assert site.refused("GET", "/v1/jobs")[1]["code"] == "unauthorised"


def test_open_by_setting_asks_nobody(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="open") as site:
        add_key(site.store, "ann")
        time.sleep(1.1)  # as long as keys may be kept
        assert site.http.get("/v1/jobs").status_code == 200
        answer = site.http.get("/auth/me", headers={"Authorization": "Bearer anything"})  # as clients of others send it
        assert answer.json()["tenant"] == "local"


def test_only_the_whole_key_opens(house: Site, people: dict[str, Holder]) -> None:
    ann, eve = people["ann"], people["eve"]
    wrong = [
        f"dk_{ann.id}_{eve.secret}",
        ann.shown[:-1],
        f"{ann.shown}0",
        ann.shown.upper(),
        ann.shown[:-1] + ("0" if ann.shown[-1] != "0" else "1"),
        f"dk_{'0' * 12}_{ann.secret}",
        ann.secret,
        "dk__",
        "ünïcode".encode().decode("latin-1"),
    ]
    for shown in wrong:
        answer = house.http.get("/auth/me", headers={"Authorization": f"Bearer {shown}".encode("latin-1")})
        assert answer.status_code == 401, shown
    for header in (ann.shown, f"Basic {ann.shown}", f"Token {ann.shown}", "Bearer"):
        assert house.http.get("/auth/me", headers={"Authorization": header}).status_code == 401, header
    twice = [("Authorization", f"Bearer {ann.shown}"), ("Authorization", f"Bearer {eve.shown}")]
    assert house.http.get("/auth/me", headers=twice).status_code == 401
    assert house.http.get("/auth/me", headers={"Authorization": f"bearer {ann.shown}"}).json() == {
        "tenant": "ann",
        "roles": ["user"],
        "key_id": ann.id,
        "email": None,
        "is_guest": False,
    }


def test_a_key_opens_nothing_once_it_has_expired(tmp_path: Path) -> None:
    now = [1_900_000_000.0]
    with open_site(tmp_path, auth="keys", parts={"clock": lambda: now[0]}) as site:
        ann = add_key(site.store, "ann", expires_at=now[0] + 60)
        wait_until(lambda: answers(site, ann) == 200)
        token = site.http.post("/v1/tokens", headers=ann.headers).json()["token"]
        assert site.http.get(f"/v1/jobs?token={token}").status_code == 200
        now[0] += 60
        assert answers(site, ann) == 401
        assert site.http.get(f"/v1/jobs?token={token}").status_code == 401


def test_revoking_works_at_every_gateway_and_ends_tokens_and_streams(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="keys") as here:
        ann = add_key(here.store, "ann")
        other = open_store(here.parts.settings.store_url, Limits())
        with open_site(tmp_path, store=other, auth="keys") as there:
            wait_until(lambda: answers(here, ann) == answers(there, ann) == 200)
            job_id = here.submit(headers=ann.headers)["id"]
            token = here.http.post("/v1/tokens", headers=ann.headers).json()["token"]
            assert there.http.get(f"/v1/jobs/{job_id}?token={token}").status_code == 200  # they share the secret
            with there.http.stream("GET", f"/v1/jobs/{job_id}/events?token={token}") as stream:
                lines = stream.iter_lines()
                assert "queued" in "".join(next(lines) for _ in range(3))
                here.store.revoke_key(ann.id, time.time())
                for site in (here, there):
                    wait_until(lambda site=site: answers(site, ann) == 401)
                    assert site.http.get(f"/v1/jobs?token={token}").status_code == 401
                here.store.cancel(job_id, time.time())  # something happens, and is not told any more
                assert "cancelled" not in "".join(lines)


def test_nothing_is_read_of_a_body_before_its_sender_is_known(house: Site, people: dict[str, Holder]) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    for path in ("/v1/jobs", "/generate", "/v1/images/generations", "/v1/uploads"):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                "Content-Length: 20000000\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 401 "), path  # though no byte of it was sent


def test_a_refusal_has_the_shape_of_its_dialect(house: Site) -> None:
    body = {"prompt": "x", "input": {"prompt": "x"}}
    assert set(house.http.post("/v1/jobs", json=body).json()["error"]) == {"code", "message", "field", "request_id"}
    assert isinstance(house.http.post("/generate", json=body).json()["detail"], str)
    assert house.http.post("/v1/images/generations", json=body).json()["error"]["code"] == "invalid_api_key"
    assert json.loads(ask(house, "WS", "/ws/jobs/{}", {})[1])["detail"]


def test_a_signed_url_needs_no_key_and_a_changed_one_opens_nothing(site: Site) -> None:
    ann = add_key(site.store, "ann")
    wait_until(lambda: answers(site, ann) == 200)
    job_id = site.submit(headers=ann.headers)["id"]
    _, lease = site.claim()
    key, data = key_for_output(job_id, lease.fence, 0, ".png"), picture()
    site.storage.put(key, data, "image/png")
    made = Artifact("art-7", "ann", key, "image/png", len(data), time.time(), job_id, 256, 256, 7)
    site.store.complete(lease, [made], {}, time.time())
    [output] = site.http.get(f"/v1/jobs/{job_id}", headers=ann.headers).json()["outputs"]
    assert httpx.get(output["url"]).content == data
    assert httpx.get(output["url"][:-2]).status_code == 403
    assert httpx.get(output["url"].partition("?")[0]).status_code == 401
    assert httpx.delete(output["url"]).status_code == 401


def test_a_key_is_stored_as_a_hash_and_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_site(tmp_path, auth="keys") as site:
        ann = add_key(site.store, "ann")
        wait_until(lambda: answers(site, ann) == 200)
        token = site.http.post("/v1/tokens", headers=ann.headers).json()["token"]
        job_id = site.submit(headers=ann.headers)["id"]
        with site.socket(f"/v1/jobs/{job_id}/ws?token={token}") as connection:
            connection.recv(timeout=60)
        site.http.get("/v1/jobs", headers={"Authorization": f"Bearer {ann.shown}0"})
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert ann.id.encode() in kept
    assert ann.secret.encode() not in kept
    ours = str([record.__dict__ for record in caplog.records if record.name.startswith(("darkroom", "uvicorn"))])
    assert job_id in ours
    assert ann.secret not in ours
    assert token not in ours


def test_a_page_elsewhere_may_send_its_key_where_it_is_listed(tmp_path: Path) -> None:
    page = "https://studio.example"
    with open_site(tmp_path, auth="keys", allowed_origins=(page,)) as site:
        ann = add_key(site.store, "ann")
        wait_until(lambda: answers(site, ann) == 200)
        asked = {"Origin": page, "Access-Control-Request-Method": "POST"}
        preflight = site.http.options("/v1/jobs", headers=asked)  # browsers send no key with it
        assert preflight.status_code == 204
        assert "Authorization" in preflight.headers["access-control-allow-headers"]
        refused = site.http.get("/v1/jobs", headers={"Origin": page})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page)
        assert site.http.get("/v1/jobs", headers={"Origin": page, **ann.headers}).status_code == 200


def test_prometheus_scrapes_with_an_operators_key(house: Site, people: dict[str, Holder]) -> None:
    assert house.http.get("/metrics").status_code == 401
    assert house.http.get("/metrics", headers=people["bob"].headers).status_code == 200


# ---- what a key brings with it ----


def test_a_class_goes_before_any_priority_and_stays_when_that_changes(site: Site) -> None:
    holders = {name: add_key(site.store, name, priority_class=name) for name in ("low", "normal", "high")}
    wait_until(lambda: answers(site, holders["high"]) == 200)
    made = {}
    for name, priority in (("low", 100), ("normal", 0), ("high", -100)):
        job = site.submit(headers=holders[name].headers, priority=priority)
        assert (job["priority"], job["priority_class"]) == (priority, name)
        made[name] = job["id"]
    url = f"/v1/jobs/{made['low']}"
    changed = site.http.patch(url, json={"priority": 50}, headers=holders["low"].headers).json()
    assert (changed["priority"], changed["priority_class"], changed["queue_position"]) == (50, "low", 2)
    assert [site.claim()[0].id for _ in range(3)] == [made["high"], made["normal"], made["low"]]


def test_a_keys_weight_is_its_share_of_the_queue(site: Site) -> None:
    site.report()
    heavy, light = add_key(site.store, "heavy", weight=4.0), add_key(site.store, "light")
    wait_until(lambda: answers(site, light) == 200)
    for _ in range(4):
        site.submit(headers=light.headers)
    for _ in range(4):
        site.submit(headers=heavy.headers)
    first = [site.claim()[0].tenant for _ in range(4)]
    assert first.count("heavy") >= 3


def test_it_is_told_who_asks(house: Site, people: dict[str, Holder]) -> None:
    said = house.http.get("/auth/me", headers=people["bob"].headers).json()
    assert (said["tenant"], said["roles"]) == ("bob", ["operator"])
    job = house.submit(headers=people["ann"].headers)
    stored = house.store.get(job["id"])
    assert stored is not None
    assert (stored.tenant, stored.key_id) == ("ann", people["ann"].id)
    assert replace(stored, key_id="") != stored

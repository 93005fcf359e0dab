"""Guests: who shows no key, where `[guests]` is set; what is theirs, what they may use, what they may not do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from darkroom.access_settings import GuestLimits, GuestSettings
from darkroom.config import load
from darkroom.errors import InvalidConfig
from darkroom.gateway import events, pictures
from darkroom.gateway.app import build_app
from darkroom.gateway.guests import COOKIE, house_of
from darkroom.gateway.parts import Parts
from darkroom.jobs.ledger import UPLOAD_BYTES
from darkroom.jobs.opening import open_store
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import open_storage

from .callers import add_key
from .gateway_site import PROMPT, Site, picture, running, settings_in, wait_until

ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}
OTHER_HOUSE = {"X-Forwarded-For": "203.0.113.8"}


@contextmanager
def site_with(home: Path, serve: dict[str, Any] | None = None, **limits: Any) -> Iterator[Site]:
    """A gateway with guests who have these limits."""
    guests = GuestSettings(limits=GuestLimits(**limits))
    settings = settings_in(home / "home", **(serve or {})).model_copy(update={"guests": guests})
    static = home / "static"
    static.mkdir()
    (static / "index.html").write_text("<p>Darkroom</p>")
    with closing(open_store(settings.store_url)) as store:
        made = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings), static=static)
        app = build_app(made)
        with running(app) as url:
            site = Site(url, made, app.state.gateway)
            with site.http:
                yield site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_with(tmp_path_factory.mktemp("guests"), jobs_per_minute=None, live_jobs=None) as found:
        yield found


@contextmanager
def browser(site: Site, **headers: str) -> Iterator[httpx.Client]:
    """One that has opened the page."""
    with httpx.Client(base_url=site.url, headers=headers, timeout=60) as client:
        assert client.get("/ui/").status_code == 200
        yield client


def submit(client: httpx.Client, headers: dict[str, str] | None = None) -> httpx.Response:
    return client.post("/v1/jobs", json={"input": PROMPT}, headers=headers)


def test_the_page_says_who_is_a_guest_also_before_there_is_a_key(site: Site) -> None:
    with browser(site) as client:
        me = client.get("/auth/me").json()
        assert (me["roles"], me["is_guest"], me["key_id"]) == (["user"], True, None)
        assert me["tenant"].startswith("guest-")
        cookie = client.get("/ui/library").headers.get("set-cookie")
        assert cookie is None  # it has one
    holder = add_key(site.store, "owl")
    wait_until(lambda: site.http.get("/auth/me", headers=holder.headers).status_code == 200)
    said = site.http.get("/auth/me", headers=holder.headers).json()
    assert (said["tenant"], said["is_guest"]) == ("owl", False)


def test_each_browser_has_its_own_jobs_and_pictures(site: Site) -> None:
    with browser(site) as one, browser(site) as other:
        job_id = submit(one).json()["id"]
        art = one.post("/v1/uploads", content=picture(), headers={"Content-Type": "image/png"}).json()["artifact_id"]
        assert [job["id"] for job in one.get("/v1/jobs").json()["data"]] == [job_id]
        assert other.get("/v1/jobs").json()["data"] == []
        for path in (f"/v1/jobs/{job_id}", f"/v1/artifacts/{art}"):
            assert (one.get(path).status_code, other.get(path).status_code) == (200, 404)
        assert other.post(f"/v1/jobs/{job_id}/cancel").status_code == 404


def test_a_browser_follows_its_own_jobs_live(site: Site) -> None:
    with browser(site) as one, browser(site) as other:
        cookie = f"{COOKIE}={one.cookies[COOKIE]}"
        with site.socket("/v1/events/ws?after=", Cookie=cookie, Origin=site.url) as connection:
            submit(other)
            job_id = submit(one).json()["id"]
            assert json.loads(connection.recv(timeout=30))["job_id"] == job_id
        with pytest.raises(InvalidStatus):
            site.socket("/v1/events/ws", Cookie=cookie, Origin="https://evil.example")


def test_who_brings_no_cookie_is_nobody_until_one_is_asked_for(site: Site) -> None:
    with httpx.Client(base_url=site.url, headers=ELSEWHERE) as program:
        for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/events"), ("GET", "/v1/models")):
            answer = program.request(method, path)
            assert answer.status_code == 401
            assert "/auth/me" in answer.json()["error"]["message"]
        me = program.get("/auth/me")
        assert me.headers["cache-control"] == "private, no-store"
        job_id = submit(program).json()["id"]
        assert program.get(f"/v1/jobs/{job_id}").status_code == 200
        assert program.get("/auth/me").json()["tenant"] == me.json()["tenant"]
    holder = add_key(site.store, "hare")
    wait_until(lambda: site.http.get("/auth/me", headers=holder.headers).status_code == 200)
    assert "set-cookie" not in httpx.get(f"{site.url}/auth/me", headers=holder.headers).headers


def test_however_many_browsers_an_address_has_none_shares_with_another(site: Site) -> None:
    with httpx.Client(base_url=site.url, headers=OTHER_HOUSE) as client:
        tenants = set()
        for _ in range(100):
            client.cookies.clear()
            client.get("/ui/")
            tenants.add(client.get("/auth/me").json()["tenant"])
        assert len(tenants) == 100


def test_uploads_count_by_address_whatever_the_cookie(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def upload(client: httpx.Client) -> httpx.Response:
        return client.post("/v1/uploads", content=picture(), headers={"Content-Type": "image/png"})

    monkeypatch.setattr(pictures, "GUESTS_UPLOADS", 2 * UPLOAD_BYTES)
    house = {"X-Forwarded-For": "203.0.113.20"}
    for _ in range(2):
        with browser(site, **house) as client:
            assert upload(client).status_code == 201
    with browser(site, **house) as client:
        refused = upload(client)
        assert (refused.status_code, refused.json()["error"]["field"]) == (429, "uploads")
        client.headers["X-Forwarded-For"] = "203.0.113.22"  # it has moved, and its cookie has not
        assert upload(client).status_code == 429
    with browser(site, **{"X-Forwarded-For": "203.0.113.21"}) as elsewhere:
        assert upload(elsewhere).status_code == 201
        taken = site.store.uploaded_bytes("guest-", is_prefix=True)
        monkeypatch.setattr(site.gateway.pictures, "_most_bytes", taken + UPLOAD_BYTES - 1)
        refused = upload(elsewhere)
        assert (refused.status_code, "all guests" in refused.json()["error"]["message"]) == (429, True)


def test_guests_leave_half_of_the_queue_to_others(tmp_path: Path) -> None:
    with site_with(tmp_path, serve={"max_queued": 4}, live_jobs=None, jobs_per_minute=None) as site:
        holder = add_key(site.store, "owl")
        wait_until(lambda: site.http.get("/v1/jobs", headers=holder.headers).status_code == 200)
        with browser(site) as one, browser(site, **ELSEWHERE) as other:
            assert [submit(client).status_code for client in (one, other, one)] == [202, 202, 429]
            assert submit(other).json()["error"]["code"] == "queue_full"
            assert [submit(site.http, holder.headers).status_code for _ in range(3)] == [202, 202, 429]


def test_streams_of_guests_are_few_by_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_OF_HOUSE", 1)
    with browser(site, **ELSEWHERE) as one, browser(site, **ELSEWHERE) as other, browser(site) as elsewhere:
        cookies = [f"{COOKIE}={client.cookies[COOKIE]}" for client in (one, other, elsewhere)]
        with site.socket("/v1/events/ws", Cookie=cookies[0], Origin=site.url, **ELSEWHERE):
            with pytest.raises(InvalidStatus, match="429"):
                site.socket("/v1/events/ws", Cookie=cookies[1], Origin=site.url, **ELSEWHERE)
            with site.socket("/v1/events/ws", Cookie=cookies[2], Origin=site.url):
                monkeypatch.setattr(events, "MAX_OF_GUESTS", 2)
                with pytest.raises(InvalidStatus, match="429"):
                    site.socket("/v1/events/ws", Cookie=cookies[2], Origin=site.url, **OTHER_HOUSE)
        wait_until(lambda: not site.gateway.feed._counts)


def test_a_guest_makes_pictures_and_does_nothing_else(site: Site) -> None:
    with browser(site) as client:
        for method, path, body in (
            ("GET", "/v1/workers", None),
            ("GET", "/v1/fleet", None),
            ("GET", "/metrics", None),
            ("GET", "/v1/jobs?tenant=owl", None),
            ("GET", "/v1/events?all=true", None),
            ("POST", "/v1/workers/w/drain", None),
            ("POST", "/v1/tokens", None),
            ("GET", "/v1/webhooks/default/secret", None),
            ("POST", "/v1/webhooks/default/secret/rotate", None),
            ("POST", "/v1/jobs", {"input": PROMPT, "webhook": "https://example.org/told"}),
        ):
            answer = client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden"), (method, path)
        assert client.get("/v1/models").status_code == 200
        assert client.get("/v1/usage").json()["key_id"] is None


def test_limits_count_by_address_whatever_the_cookie(tmp_path: Path) -> None:
    with site_with(tmp_path, live_jobs=2, jobs_per_minute=100) as site:
        with browser(site, **ELSEWHERE) as one:
            assert [submit(one).status_code for _ in range(2)] == [202, 202]
        with browser(site, **ELSEWHERE) as other:  # it has thrown its cookie away
            refused = submit(other)
            assert (refused.status_code, refused.json()["error"]["field"]) == (429, "live_jobs")
            assert other.get("/v1/usage").json()["used"]["live_jobs"] == 2
            assert other.get("/v1/usage").json()["priority_class"] == "low"
        with browser(site, **OTHER_HOUSE) as elsewhere:
            assert submit(elsewhere).status_code == 202
        holder = add_key(site.store, "owl")
        wait_until(lambda: site.http.get("/v1/jobs", headers=holder.headers).status_code == 200)
        assert all(submit(site.http, headers=holder.headers).status_code == 202 for _ in range(3))


def test_a_cookie_that_we_did_not_make_is_none(site: Site) -> None:
    with browser(site) as one:
        tenant = one.get("/auth/me").json()["tenant"]
        forged = one.cookies[COOKIE][:-3] + "abc"
    said = site.http.get("/auth/me", headers={"Cookie": f"{COOKIE}={forged}"}).json()
    assert said["tenant"] not in (tenant, "local")


def test_a_key_that_is_wrong_makes_no_guest(site: Site) -> None:
    for headers in ({"Authorization": "Bearer dk_wrong"}, {"Authorization": "Basic x"}):
        assert site.http.get("/v1/jobs", headers=headers).status_code == 401
    assert site.http.get("/v1/jobs?token=dt_wrong").status_code == 401


def test_the_page_with_a_cookie_is_nobody_elses_to_keep(site: Site) -> None:
    answer = httpx.get(f"{site.url}/ui/")
    assert COOKIE in answer.cookies
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "httponly" in answer.headers["set-cookie"].lower()


def test_guests_also_come_in_where_everybody_is_asked(tmp_path: Path) -> None:
    with site_with(tmp_path, serve={"auth": "keys"}) as site:
        assert site.http.get("/auth/me", headers=ELSEWHERE).json()["is_guest"]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("", "203.0.113.7", False),
    ],
)
def test_of_ipv6_a_network_counts_as_one_address(one: str, other: str, is_same: bool) -> None:
    assert (house_of(one) == house_of(other)) is is_same


def test_the_settings_are_off_unless_said_and_have_careful_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    file = tmp_path / "darkroom.toml"
    file.write_text("")
    assert load(file).guests is None
    file.write_text("[guests]\n")
    guests = load(file).guests
    assert guests is not None
    assert (guests.limits.live_jobs, guests.limits.jobs_per_minute, guests.limits.priority_class) == (2, 6, "low")
    file.write_text("[guests.limits]\nlive_job = 3\n")
    with pytest.raises(InvalidConfig, match="live_jobs"):
        load(file)

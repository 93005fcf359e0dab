"""Tokens in URLs, limits of keys, and what a key is told of its own usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from darkroom.core import Allowance
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits

from .callers import Holder, add_key, known
from .gateway_site import PROMPT, Site, open_site, picture, wait_until

DAY_S = 86400.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path, auth="keys") as found:
        yield found


def token_of(site: Site, holder: Holder) -> str:
    answer = site.http.post("/v1/tokens", headers=holder.headers)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["token"])


# ---- tokens ----


def test_a_token_opens_what_a_browser_cannot_send_headers_for(site: Site) -> None:
    ann = known(site, "ann")
    job_id = site.submit(headers=ann.headers)["id"]
    upload = site.http.post("/v1/uploads", content=picture(), headers=ann.headers).json()["artifact_id"]
    token = token_of(site, ann)
    assert site.http.get(f"/v1/artifacts/{upload}?token={token}").content == picture()
    with site.http.stream("GET", f"/v1/jobs/{job_id}/events?token={token}") as stream:
        assert next(stream.iter_lines()).startswith("id: ")
    for path in (f"/v1/jobs/{job_id}/ws", f"/ws/jobs/{job_id}"):
        with site.socket(f"{path}?token={token}") as connection:
            assert json.loads(connection.recv(timeout=60))
        with pytest.raises(InvalidStatus) as caught, site.socket(f"{path}?token={token}x"):
            pass
        assert caught.value.response.status_code == 401


def test_a_token_changes_nothing(site: Site) -> None:
    ann = known(site, "ann")
    job_id, token = site.submit(headers=ann.headers)["id"], token_of(site, ann)
    for method, path in (
        ("POST", "/v1/jobs"),
        ("POST", "/v1/tokens"),
        ("POST", "/v1/uploads"),
        ("POST", f"/v1/jobs/{job_id}/cancel"),
        ("PATCH", f"/v1/jobs/{job_id}"),
        ("DELETE", f"/v1/jobs/{job_id}"),
        ("POST", "/generate"),
        ("DELETE", f"/jobs/{job_id}"),
    ):
        assert site.http.request(method, f"{path}?token={token}").status_code == 401, (method, path)
    assert site.http.get(f"/v1/jobs/{job_id}?token={token}").json()["state"] == "queued"


def test_a_token_is_a_users_whoever_made_it_and_reads_no_secret(site: Site) -> None:
    bob, ann = known(site, "bob", "operator"), known(site, "ann")
    job_id, token = site.submit(headers=ann.headers)["id"], token_of(site, bob)
    for path in ("/v1/workers", "/metrics", "/v1/jobs?tenant=ann", "/v1/webhooks/default/secret"):
        assert site.http.get(f"{path}{'&' if '?' in path else '?'}token={token}").status_code == 403, path
    assert site.http.get(f"/v1/jobs/{job_id}?token={token}").status_code == 404
    assert site.http.get("/v1/webhooks/default/secret", headers=bob.headers).status_code == 200


def test_a_workers_key_makes_no_token(site: Site) -> None:
    worker = known(site, "machines", "worker")
    assert site.refused("POST", "/v1/tokens", headers=worker.headers)[0] == 403


def test_a_token_dies_in_time_and_cannot_be_changed(tmp_path: Path) -> None:
    now = [1_900_000_000.0]
    with open_site(tmp_path, auth="keys", token_s=60, parts={"clock": lambda: now[0]}) as site:
        ann = known(site, "ann")
        answer = site.http.post("/v1/tokens", headers=ann.headers).json()
        assert answer["expires_at"] == "2030-03-17T17:47:40.000Z"
        token = answer["token"]

        def status(shown: str) -> int:
            return site.http.get("/v1/jobs", params={"token": shown}).status_code

        assert status(token) == 200
        head, digest = token.split(".")
        other = token_of(site, known(site, "eve")).split(".")[0]
        for changed in (f"{other}.{digest}", f"{head}.", head, f"{head}.{digest[:-1]}", token[3:], "", "dt_", "dt_."):
            assert status(changed) == 401, changed
        job_id = site.submit(headers=ann.headers)["id"]
        signed = site.gateway.signer.sign(job_id, now[0]).partition("signature=")[2]
        assert status(f"dt_{signed}") == 401
        now[0] += 59
        assert status(token) == 200
        now[0] += 1
        assert status(token) == 401
        assert site.refused("GET", f"/v1/jobs?token={token}")[1]["field"] == "token"


def test_a_header_stands_above_a_token(site: Site) -> None:
    ann = known(site, "ann")
    headers = {"Authorization": "Bearer dk_none"}
    assert site.http.get(f"/v1/jobs?token={token_of(site, ann)}", headers=headers).status_code == 401


# ---- limits ----


def refused_job(site: Site, holder: Holder) -> tuple[dict[str, Any], int]:
    """The error of a job that a limit refuses, and when to come back."""
    answer = site.http.post("/v1/jobs", json={"input": PROMPT}, headers=holder.headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (429, "limit_exceeded")
    return error, int(answer.headers["retry-after"])


def test_a_rate_is_kept_and_says_when_it_frees_in_every_shape(tmp_path: Path) -> None:
    now = [1_900_000_000.0]
    with open_site(tmp_path, auth="keys", parts={"clock": lambda: now[0]}) as site:
        ann = known(site, "ann", allowance=Allowance(jobs_per_minute=3))
        for _ in range(3):
            site.submit(headers=ann.headers)
        error, retry_s = refused_job(site, ann)
        assert error["field"] == "jobs_per_minute"
        assert "3 jobs a minute" in error["message"]
        course = site.http.post("/generate", json={"prompt": "x"}, headers=ann.headers)
        assert (course.status_code, course.headers["retry-after"]) == (429, str(retry_s))
        assert course.json()["detail"] == error["message"]
        openai = site.http.post("/v1/images/generations", json={"prompt": "x"}, headers=ann.headers)
        assert (openai.status_code, openai.headers["retry-after"]) == (429, str(retry_s))
        now[0] += retry_s - 1
        refused_job(site, ann)
        now[0] += 1
        site.submit(headers=ann.headers)


def test_live_jobs_are_counted_until_they_end(site: Site) -> None:
    ann = known(site, "ann", allowance=Allowance(live_jobs=2))
    first = site.submit(headers=ann.headers)["id"]
    site.submit(headers=ann.headers)
    assert refused_job(site, ann)[0]["field"] == "live_jobs"
    site.http.post(f"/v1/jobs/{first}/cancel", headers=ann.headers)
    site.submit(headers=ann.headers)


@pytest.mark.parametrize(
    ("allowance", "field"),
    [(Allowance(device_s_per_day=1.0), "device_s_per_day"), (Allowance(usd_per_day=0.001), "usd_per_day")],
)
def test_a_days_budget_is_kept_and_comes_back_at_midnight(tmp_path: Path, allowance: Allowance, field: str) -> None:
    now = [1_900_000_000.0 // DAY_S * DAY_S + DAY_S - 100]
    with open_site(tmp_path, auth="keys", price_per_hour_usd=3.6, parts={"clock": lambda: now[0]}) as site:
        ann = known(site, "ann", allowance=allowance)
        made = 0
        while site.http.post("/v1/jobs", json={"input": PROMPT}, headers=ann.headers).status_code == 202:
            made += 1
        assert made == 2  # 4 steps of 2 rows at the nominal 0.05 s are 0.4 s, at a thousandth of a dollar a second
        error, retry_s = refused_job(site, ann)
        assert (error["field"], retry_s) == (field, 100)
        said = site.http.get("/v1/usage", headers=ann.headers).json()
        assert said["limits"][field] == getattr(allowance, field)
        assert said["used"] == {"live_jobs": 2, "device_s": 0.8, "usd": 0.0008}
        assert said["resets_at"] == "2030-03-18T00:00:00.000Z"
        now[0] += 100
        site.submit(headers=ann.headers)


def test_gateways_share_what_a_key_may_use(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="keys") as here:
        ann = known(here, "ann", allowance=Allowance(live_jobs=2, jobs_per_minute=60))
        other = open_store(here.parts.settings.store_url, Limits())
        with open_site(tmp_path, store=other, auth="keys") as there:
            wait_until(lambda: there.http.get("/auth/me", headers=ann.headers).status_code == 200)
            here.submit(headers=ann.headers)
            there.submit(headers=ann.headers)
            for site in (here, there):
                assert refused_job(site, ann)[0]["field"] == "live_jobs"
                assert site.http.get("/v1/usage", headers=ann.headers).json()["used"]["live_jobs"] == 2


def test_the_same_key_twice_for_one_request_is_no_second_job(site: Site) -> None:
    ann = known(site, "ann", allowance=Allowance(live_jobs=1))
    headers = {**ann.headers, "Idempotency-Key": "order-7"}
    assert site.submit(headers=headers)["id"] == site.submit(headers=headers)["id"]


def test_usage_is_told_to_those_who_hold_a_key_and_is_null_without_one(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        said = site.http.get("/v1/usage").json()
        assert (said["key_id"], said["tenant"], said["used"]) == (None, "local", None)
        assert set(said["limits"].values()) == {None}
        ann = add_key(site.store, "ann", priority_class="low", weight=2.0, allowance=Allowance(jobs_per_minute=1))
        wait_until(lambda: site.http.get("/v1/usage").status_code == 401)
        site.submit(headers=ann.headers)
        said = site.http.get("/v1/usage", headers=ann.headers).json()
        assert (said["key_id"], said["priority_class"], said["weight"]) == (ann.id, "low", 2.0)
        assert said["next_job_at"] is not None
        assert said["used"]["live_jobs"] == 1
        assert said["used"]["device_s"] > 0

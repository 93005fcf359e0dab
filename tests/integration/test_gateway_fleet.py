"""GET /v1/fleet over a real store: for operators, of many pages of jobs, one look for all who ask."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import Job
from darkroom.fleet.nouns import Member, Phase
from darkroom.fleet.told import FleetNote, PoolNote, write_note
from darkroom.gateway import fleet, forecast
from darkroom.jobs.opening import open_store
from tests.contract.making import new_job

from .callers import add_key
from .gateway_site import WORKER, open_site


def test_operators_see_the_queue_what_ended_and_what_failed(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        site.report()
        site.submit()
        site.complete(site.claim()[1])
        failed = site.submit()["id"]
        error = {"code": "internal", "message": "it broke"}
        site.store.fail(site.claim()[1], error, {"device_s": 2.0, "cost_usd": 0.25}, time.time(), None)
        site.submit()
        site.claim()
        site.submit()
        answer = site.http.get("/v1/fleet")
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert (said["window_s"], said["is_partial"], len(said["series"])) == (3600, False, fleet.BUCKETS + 1)
        assert (said["queue"]["depth"], said["queue"]["running"]) == (1, 1)
        [model] = said["queue"]["by_model"]
        assert (model["model"], model["queued"], model["running"]) == ("landscapes", 1, 1)
        totals = said["totals"]
        assert (totals["jobs"], totals["succeeded"], totals["failed"], totals["images"]) == (2, 1, 1, 1)
        assert (totals["device_s"], totals["cost_per_image"]) == (2.0, 0.25)
        assert sum(part["succeeded"] + part["failed"] for part in said["series"]) == 2
        [wrong] = said["errors"]
        assert (wrong["job_id"], wrong["code"], wrong["message"]) == (failed, "internal", "it broke")
        assert said["tenants"] == [
            {"tenant": "local", "jobs": 2, "images": 1, "device_s": 2.0, "cost_usd": 0.25, "queued": 1, "running": 1}
        ]


def test_others_do_not_and_a_window_has_bounds(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        user, boss = add_key(site.store, "owl"), add_key(site.store, "boss", "operator")
        assert site.refused("GET", "/v1/fleet", headers=user.headers)[0] == 403
        assert site.http.get("/v1/fleet?window_s=60", headers=boss.headers).status_code == 200
        for said in ("59", "604801", "x", "1.5"):
            status, error = site.refused("GET", f"/v1/fleet?window_s={said}", headers=boss.headers)
            assert (status, error["field"]) == (400, "window_s")


def test_many_who_ask_at_once_cost_one_look(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/jobs.db")
    looks: list[int] = []
    plain, gate = store.queue, threading.Lock()

    def counted() -> Any:
        with gate:
            looks.append(1)
        return plain()

    with open_site(tmp_path, store=store) as site, ThreadPoolExecutor(16) as pool:
        site.submit()
        looks.clear()
        store.queue = counted  # type: ignore[method-assign]  # counts, and does what it did
        answers = list(pool.map(lambda _: site.http.get("/v1/fleet").json(), range(32)))
        assert all(answer == answers[0] for answer in answers)
        assert len(looks) == 1
        assert site.http.get("/v1/fleet?window_s=60").json()["window_s"] == 60  # another window, another look
        assert len(looks) == 2


def test_of_more_jobs_than_are_looked_at_the_newest_count_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MOST_JOBS", 5)
    monkeypatch.setattr(fleet, "PAGE", 2)
    with open_site(tmp_path) as site:
        for _ in range(7):
            site.submit()
            site.complete(site.claim()[1])
        said = site.http.get("/v1/fleet").json()
        assert (said["is_partial"], said["totals"]["jobs"]) == (True, 5)


def test_what_ended_in_the_window_counts_however_long_ago_it_was_asked_for(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        now = time.time()
        [asked] = site.store.insert([new_job(id="long-ago")], now - 7 * 24 * 3600)
        assert isinstance(asked, Job)
        site.store.cancel(asked.id, now - 10)
        said = site.http.get("/v1/fleet").json()
        assert (said["totals"]["cancelled"], said["is_partial"]) == (1, False)


def test_workers_tell_of_their_batches_while_an_operator_asks_for_them(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        user, boss = add_key(site.store, "owl"), add_key(site.store, "boss", "operator")
        assert site.http.get("/v1/workers", headers=boss.headers).status_code == 200
        assert site.http.get("/v1/workers?ticks=true", headers=user.headers).status_code == 403
        assert not site.store.is_watched(time.time())
        assert site.http.get("/v1/workers?ticks=true", headers=boss.headers).status_code == 200
        assert site.store.is_watched(time.time() + fleet.WATCH_S / 2)
        assert not site.store.is_watched(time.time() + fleet.WATCH_S + 1)
        site.store.watch(0.0)
        site.http.get("/v1/workers?ticks=true", headers=boss.headers)
        assert not site.store.is_watched(time.time())  # not each look is written


def test_an_operator_drains_cancels_and_moves_what_is_anybodys_and_a_user_does_not(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        site.report()
        owl, hare = add_key(site.store, "owl"), add_key(site.store, "hare")
        boss = add_key(site.store, "boss", "operator")
        job_id = site.submit(headers=owl.headers)["id"]
        asked = [("PATCH", f"/v1/jobs/{job_id}", {"priority": 7}), ("POST", f"/v1/jobs/{job_id}/cancel", None)]
        for method, path, body in asked:
            assert site.http.request(method, path, json=body, headers=hare.headers).status_code == 404
        moved, cancelled = (site.http.request(*one[:2], json=one[2], headers=boss.headers) for one in asked)
        assert (moved.status_code, moved.json()["priority"]) == (200, 7)
        assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
        assert site.http.post(f"/v1/workers/{WORKER}/drain", headers=hare.headers).status_code == 403
        assert site.http.post(f"/v1/workers/{WORKER}/drain", headers=boss.headers).status_code == 202
        assert site.store.is_asked_to_drain(WORKER)


def test_without_keys_on_loopback_the_ui_is_told_that_everything_is_open(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        assert site.http.get("/auth/me").json() == {
            "tenant": "local",
            "key_id": None,
            "email": None,
            "is_guest": False,
            "roles": ["operator", "user", "worker"],
        }


def test_with_no_worker_and_a_fleet_jobs_are_accepted_held_and_foretold(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        status, error = site.refused("GET", "/readyz")
        assert (status, error["code"]) == (503, "unavailable")
        assert site.http.get("/v1/fleet").json()["scaler"] is None
        pool = PoolNote("warm", ready_s=12.0, models=("landscapes",), max_workers=2, wanted=0, reasons=("no work",))
        note = FleetNote(time.time(), "local", "darkroom", 5.0, (pool,))
        site.store.note_fleet(write_note(note))
        ready = site.http.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert "until the fleet has a worker ready: none is there" in ready.json()["detail"]
        time.sleep(forecast.FRESH_S)
        job = site.submit()
        assert job["state"] == "queued"
        assert job["eta_s"] >= 12.0
        [told] = site.http.get("/v1/fleet?window_s=61").json()["pools"]
        assert (told["name"], told["wanted"], told["running"], told["reasons"]) == ("warm", 0, 0, ["no work"])
        site.store.note_fleet(write_note(replace(note, fault="driver_unavailable: no cluster")))
        status, error = site.refused("GET", "/readyz")
        assert (status, error["message"]) == (503, "no worker is ready: none is there; the fleet cannot start one")
        assert "no cluster" in site.http.get("/v1/fleet?window_s=62").json()["scaler"]["fault"]
        site.store.note_fleet(write_note(replace(note, at=time.time() - 60)))
        assert site.refused("GET", "/readyz")[0] == 503  # nobody scales it any more


def test_the_pools_are_told_with_their_workers(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        at = time.time()
        members = tuple(Member(f"w-{phase}", "spot", phase, at - 4) for phase in Phase)
        pool = PoolNote("spot", "L4", True, 0.3, wanted=2, ready_s=9.0, decided_at=at, members=members, reasons=("a",))
        site.store.note_fleet(write_note(FleetNote(at, "ray", "reactive", 5.0, (pool,), fault="x")))
        said = site.http.get("/v1/fleet").json()
        assert (said["scaler"]["driver"], said["scaler"]["policy"]) == ("ray", "reactive")
        assert (said["scaler"]["is_fresh"], said["scaler"]["fault"]) == (True, "x")
        [told] = said["pools"]
        assert (told["running"], told["starting"], told["leaving"]) == (1, 1, 1)
        assert (told["device"], told["is_spot"], told["price_per_hour_usd"]) == ("L4", True, 0.3)
        assert 0 < told["next_ready_s"] <= 5.0
        assert [(worker["id"], worker["phase"]) for worker in told["workers"]] == [
            ("w-starting", "starting"), ("w-ready", "ready"), ("w-leaving", "leaving"),
        ]  # fmt: skip

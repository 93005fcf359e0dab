"""Limits over HTTP where several gateways share one store, on SQLite and on Redis; and when they free."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from darkroom.core import Allowance
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits

from .callers import Holder, add_key
from .gateway_site import PROMPT, Site, open_site, wait_until
from .redis_server import RedisServer

Opened = Callable[[Allowance], tuple[Site, Site, Holder]]


@pytest.fixture(params=["sqlite", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.sqlite3'}"
        return
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    yield server.url
    server.kill()


@pytest.fixture
def two(store_url: str, tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two gateways, each with a handle of its own on one store."""
    stores = [open_store(store_url, Limits()) for _ in range(2)]
    with (
        open_site(tmp_path, store=stores[0], auth="keys") as here,
        open_site(tmp_path, store=stores[1], auth="keys") as there,
    ):
        yield here, there


def holder(two: tuple[Site, Site], allowance: Allowance) -> Holder:
    """A key that both gateways know."""
    ann = add_key(two[0].store, "ann", allowance=allowance)
    for site in two:
        wait_until(lambda site=site: site.http.get("/auth/me", headers=ann.headers).status_code == 200)
    return ann


def submit_all(two: tuple[Site, Site], ann: Holder, count: int) -> list[int]:
    """The statuses of jobs that are sent to both at once."""

    def send(number: int) -> int:
        answer = two[number % 2].http.post("/v1/jobs", json={"input": PROMPT}, headers=ann.headers)
        assert answer.status_code == 202 or int(answer.headers["retry-after"]) >= 1
        return answer.status_code

    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(send, range(count)))


@pytest.mark.parametrize("allowance", [Allowance(jobs_per_minute=3), Allowance(live_jobs=3)])
def test_gateways_that_share_a_store_give_no_place_away_twice(two: tuple[Site, Site], allowance: Allowance) -> None:
    ann = holder(two, allowance)
    assert submit_all(two, ann, 12) == [202] * 3 + [429] * 9
    used = [site.http.get("/v1/usage", headers=ann.headers).json()["used"]["live_jobs"] for site in two]
    assert used == [3, 3]


def test_a_budget_is_one_over_gateways(two: tuple[Site, Site]) -> None:
    ann = holder(two, Allowance(device_s_per_day=3.0))
    first = two[0].submit(headers=ann.headers)
    _, lease = two[1].claim()
    assert lease.job_id == first["id"]
    two[1].store.complete(lease, [], {"device_s": 2.99}, time.time())
    for site in two:
        answer = site.http.post("/v1/jobs", json={"input": PROMPT}, headers=ann.headers)
        assert (answer.status_code, answer.json()["error"]["field"]) == (429, "device_s_per_day")


def test_what_frees_at_one_gateway_is_free_at_the_other(two: tuple[Site, Site]) -> None:
    here, there = two
    ann = holder(two, Allowance(live_jobs=1))
    job = here.submit(headers=ann.headers)
    assert there.http.post("/v1/jobs", json={"input": PROMPT}, headers=ann.headers).status_code == 429
    assert there.http.post(f"/v1/jobs/{job['id']}/cancel", headers=ann.headers).status_code == 202
    assert here.submit(headers=ann.headers)["state"] == "queued"


# When it frees


def refused(site: Site, ann: Holder) -> tuple[int, str]:
    """After how many seconds to come back, by the header, and the message."""
    answer = site.http.post("/v1/jobs", json={"input": PROMPT}, headers=ann.headers)
    assert (answer.status_code, answer.json()["error"]["field"]) == (429, "live_jobs")
    return int(answer.headers["retry-after"]), answer.json()["error"]["message"]


def busy(two: tuple[Site, Site], step_s: float) -> Holder:
    """A key with two running jobs that may have no more; one of them has done three of its four steps."""
    ann = holder(two, Allowance(live_jobs=2))
    for _ in range(2):
        two[0].submit(headers=ann.headers)
    leases = [two[0].claim()[1] for _ in range(2)]
    two[0].report(step_seconds={"landscapes": step_s})
    two[0].step(leases[0], 3)
    wait_until(lambda: two[0].store.get(leases[0].job_id).step == 3)  # type: ignore[union-attr]
    return ann


def test_a_limit_of_live_jobs_frees_when_the_first_is_expected_to_end(two: tuple[Site, Site]) -> None:
    ann = busy(two, 7.0)
    seconds, said = refused(two[1], ann)
    assert seconds == 7
    assert "2 jobs" in said
    assert said.endswith("when one of them ends; try again in 7 s")


@pytest.mark.parametrize(("step_s", "expected"), [(0.001, 1), (5000.0, 120)])
def test_that_is_bounded(two: tuple[Site, Site], step_s: float, expected: int) -> None:
    assert refused(two[1], busy(two, step_s))[0] == expected


def test_where_nothing_is_measured_it_is_a_second(two: tuple[Site, Site]) -> None:
    ann = holder(two, Allowance(live_jobs=1))
    two[0].submit(headers=ann.headers)
    assert refused(two[1], ann)[0] == 1

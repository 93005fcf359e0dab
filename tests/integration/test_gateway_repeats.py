"""What the door does not judge anew, what it copies, and the bound on jobs for later; the test plays the worker."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .gateway_site import PROMPT, Site, open_site, picture

HOUR_S = 3600.0


class Clock:
    """The gateway's clock, which a test may set forward."""

    ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Iterator[Site]:
    with open_site(tmp_path, parts={"clock": clock}, max_scheduled=2, max_queued=3, idempotency_h=24.0) as found:
        yield found


def post(site: Site, key: str, inputs: dict[str, Any] | None = None, **body: Any) -> Any:
    headers = {"Idempotency-Key": key}
    return site.http.post("/v1/jobs", json={"input": {**PROMPT, **(inputs or {})}, **body}, headers=headers)


def made_output(site: Site) -> tuple[str, str]:
    """The ids of a finished job and of its picture."""
    site.submit()
    job, lease = site.claim()
    return job.id, site.complete(lease).outputs[0].id


def later(site: Site, in_s: float) -> Any:
    run_at = site.gateway.clock() + in_s
    return site.http.post("/v1/jobs", json={"input": PROMPT, "run_at": run_at})


# ---- a repeat ----


def test_a_repeat_is_answered_after_its_time_to_start_has_passed(site: Site, clock: Clock) -> None:
    body = {"run_at": time.time() + HOUR_S}
    first = post(site, "k", **body)
    assert (first.status_code, first.json()["state"]) == (202, "scheduled")
    clock.ahead_s = 2 * HOUR_S
    again = post(site, "k", **body)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["idempotency-replayed"] == "true"
    assert post(site, "another", **body).json()["error"]["field"] == "run_at"


def test_a_repeat_with_another_body_is_a_conflict_even_where_that_body_would_be_refused(site: Site) -> None:
    post(site, "k")
    answer = post(site, "k", {"seed": -1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_a_repeat_stores_no_picture_again(site: Site) -> None:
    inputs = {"image": f"data:image/png;base64,{base64.b64encode(picture()).decode()}"}
    assert post(site, "k", inputs).json()["id"] == post(site, "k", inputs).json()["id"]
    assert len(list(site.storage.list("uploads"))) == 1


def test_a_repeat_is_answered_when_the_picture_that_it_names_is_gone(site: Site) -> None:
    job_id, output = made_output(site)
    first = post(site, "k", {"image": output})
    assert first.status_code == 202
    assert site.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert post(site, "k", {"image": output}).json()["id"] == first.json()["id"]
    assert post(site, "another", {"image": output}).json()["error"]["field"] == "image"


# ---- an output as an input ----


def test_an_output_that_a_live_job_starts_from_outlives_the_job_that_made_it(site: Site) -> None:
    job_id, output = made_output(site)
    made = site.submit({"image": output})
    copy = made["input"]["image"]
    assert copy != output
    assert site.http.delete(f"/v1/jobs/{job_id}").status_code == 204
    site.storage.delete([gone.key for gone in site.store.prune(time.time() + 1, time.time() + 1, time.time())])
    kept = site.store.artifact(copy)
    assert kept is not None
    assert (kept.job_id, kept.width, kept.height, kept.content_type) == (None, 256, 256, "image/png")
    assert site.storage.get(kept.key) == picture()
    assert list(site.storage.list("uploads")) == [kept.key]


def test_an_output_whose_bytes_are_gone_is_named(site: Site) -> None:
    _, output = made_output(site)
    found = site.store.artifact(output)
    assert found is not None
    site.storage.delete([found.key])
    status, error = site.refused("POST", "/v1/jobs", json={"input": {**PROMPT, "image": output}})
    assert (status, error["code"], error["field"]) == (400, "bad_input", "image")


# ---- jobs for later ----


def test_jobs_for_later_have_a_bound_of_their_own_and_say_when_there_is_room(site: Site) -> None:
    for in_s in (1800.0, 900.0):
        assert later(site, in_s).status_code == 202
    answer = later(site, 60.0)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert answer.json()["error"]["field"] == "run_at"
    assert 880 <= int(answer.headers["retry-after"]) <= 900
    for _ in range(3):
        site.submit()  # the queue has all its room
    assert site.refused("POST", "/v1/jobs", json={"input": PROMPT})[1]["field"] is None


def test_nobody_is_told_to_come_back_next_week(site: Site) -> None:
    for _ in range(2):
        later(site, 7 * 24 * HOUR_S)
    assert later(site, 60.0).headers["retry-after"] == "3600"

"""Jobs over HTTP: made, refused, listed, changed, cancelled, removed; the test plays the worker."""

from __future__ import annotations

import base64
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroom.core import NewJob
from darkroom.jobs.opening import open_store
from darkroom.models.request import MAX_SEED
from darkroom.storage.objects import prefix_for_outputs
from darkroom.storage.tapes import key_for_tape

from .gateway_site import PROMPT, Site, open_site, picture, wait_until

LONG = "a lighthouse by the sea " * 60


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One gateway for tests that claim nothing."""
    with open_site(tmp_path_factory.mktemp("house")) as site:
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as found:
        yield found


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


# ---- accepted ----


def test_an_accepted_job_is_in_the_store_with_nothing_left_open(house: Site) -> None:
    answer = house.http.post("/v1/jobs", json={"input": {"prompt": "a bay in snow", "preset": "fast"}})
    assert answer.status_code == 202
    said = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{said['id']}"
    with closing(open_store(house.parts.settings.store_url)) as other:  # as another process sees it
        job = other.get(said["id"])
    assert job is not None
    assert dict(job.input) == said["input"]
    assert 0 <= said["input"]["seed"] < 2**53
    assert {name: value for name, value in said["input"].items() if name != "seed"} == {
        "prompt": "a bay in snow",
        "num_inference_steps": 10,
        "guidance_scale": 4.0,
        "solver": "dpm++2m",
        "width": 256,
        "height": 256,
        "num_images_per_prompt": 1,
        "reproducible": False,
    }
    assert (said["state"], said["model"], said["task"], said["steps"]) == ("queued", "landscapes", "text-to-image", 10)
    assert said["output"] == {"format": "png", "quality": None, "keep_metadata": True}
    assert said["request_id"] == answer.headers["x-request-id"]
    assert (said["tenant"], said["attempt"], said["max_attempts"], said["progress"]) == ("local", 0, 3, 0.0)


def test_what_is_said_is_kept_as_it_was_said(house: Site) -> None:
    said = house.submit(
        {"seed": MAX_SEED, "reproducible": True, "solver": "euler", "guidance_scale": 0, "width": 320, "height": 192},
        model="landscapes",
        task="text-to-image",
        priority=-7,
        output={"format": "webp", "quality": 70, "keep_metadata": False},
        metadata={"album": "sea", "tags": ["a", {"b": None}], "ж": "🌊"},
    )
    assert (said["priority"], said["input"]["seed"], said["input"]["reproducible"]) == (-7, MAX_SEED, True)
    assert said["output"] == {"format": "webp", "quality": 70, "keep_metadata": False}
    assert said["metadata"] == {"album": "sea", "tags": ["a", {"b": None}], "ж": "🌊"}
    assert house.job(said["id"])["input"] == said["input"]


def test_two_jobs_without_a_seed_get_two(house: Site) -> None:
    assert house.submit()["input"]["seed"] != house.submit()["input"]["seed"]


def test_null_is_the_same_as_not_given(house: Site) -> None:
    said = house.submit({"seed": None, "image": None, "preset": None, "reproducible": None}, model=None, run_at=None)
    assert (said["task"], said["input"]["reproducible"]) == ("text-to-image", False)
    assert isinstance(said["input"]["seed"], int)


def test_links_are_absolute_under_the_name_and_scheme_that_the_caller_used(house: Site) -> None:
    # As a proxy on this machine says it.
    headers = {"Host": "localhost:443", "X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
    links = house.submit(headers=headers)["links"]
    assert links["events"].startswith("https://localhost:443/v1/jobs/")
    assert links["ws"].startswith("wss://localhost:443/v1/jobs/")


def test_a_prompt_past_the_window_is_accepted_and_what_is_lost_is_quoted(house: Site) -> None:
    said = house.submit({"prompt": LONG, "negative_prompt": "rain"})
    warning, lonely = said["warnings"]
    assert warning.startswith("prompt is longer")
    assert LONG.strip()[-40:] in warning
    assert lonely.startswith("no worker takes jobs of landscapes now")
    assert house.submit()["warnings"] == [lonely]


def test_times_are_rfc_3339_in_utc(house: Site) -> None:
    said = house.submit(deadline_s=60)
    assert said["created_at"].endswith("Z")
    assert said["queued_at"] == said["created_at"]
    assert said["deadline_at"] > said["created_at"]
    assert (said["started_at"], said["succeeded_at"], said["failed_at"], said["cancelled_at"]) == (None,) * 4


def test_a_job_for_later_is_scheduled_and_one_for_just_now_is_queued(house: Site) -> None:
    later = house.submit(run_at=time.time() + 3600, deadline_s=7200)
    assert (later["state"], later["queue_position"]) == ("scheduled", None)
    assert later["run_at"] is not None
    assert house.submit(run_at=time.time() - 1)["state"] == "queued"


# ---- refused ----

HOOK = {"url": "https://example.org"}
REFUSED: list[tuple[Mapping[str, Any], int, str, str]] = [
    ({}, 400, "bad_input", "input"),
    ({"input": []}, 400, "bad_input", "input"),
    ({"input": {}}, 400, "bad_input", "prompt"),
    ({"input": PROMPT, "prompt": "x"}, 400, "unknown_argument", "prompt"),
    ({"input": {**PROMPT, "stepz": 4}}, 400, "unknown_argument", "stepz"),
    ({"input": {**PROMPT, "st\ud800": 4}}, 400, "unknown_argument", "st\ud800"),
    ({"input": {**PROMPT, "task": "inpaint"}}, 400, "unknown_argument", "task"),
    ({"input": {**PROMPT, "reproducible": "yes"}}, 400, "bad_input", "reproducible"),
    ({"input": {"prompt": "x" * 2001}}, 400, "bad_input", "prompt"),
    ({"input": {"prompt": " \n"}}, 400, "bad_input", "prompt"),
    ({"input": {"prompt": "\ud800"}}, 400, "bad_input", "prompt"),
    ({"input": {"prompt": ["x"]}}, 400, "bad_input", "prompt"),
    ({"input": {**PROMPT, "num_inference_steps": 0}}, 400, "bad_input", "num_inference_steps"),
    ({"input": {**PROMPT, "num_inference_steps": "4"}}, 400, "bad_input", "num_inference_steps"),
    ({"input": {**PROMPT, "num_inference_steps": 10**400}}, 400, "bad_input", "num_inference_steps"),
    ({"input": {**PROMPT, "guidance_scale": 51}}, 400, "bad_input", "guidance_scale"),
    ({"input": {**PROMPT, "guidance_scale": math.nan}}, 400, "bad_input", "guidance_scale"),
    ({"input": {**PROMPT, "seed": -1}}, 400, "bad_input", "seed"),
    ({"input": {**PROMPT, "seed": 2**63}}, 400, "bad_input", "seed"),
    ({"input": {**PROMPT, "seed": 1.0}}, 400, "bad_input", "seed"),
    ({"input": {**PROMPT, "seed": [[[]]]}}, 400, "bad_input", "seed"),
    ({"input": {**PROMPT, "num_images_per_prompt": 17}}, 400, "bad_input", "num_images_per_prompt"),
    ({"input": {**PROMPT, "width": 256}}, 400, "bad_input", "height"),
    ({"input": {**PROMPT, "width": 100, "height": 100}}, 400, "size_not_offered", "width"),
    ({"input": {**PROMPT, "width": 512, "height": 512}}, 400, "size_not_offered", "width"),
    ({"input": {**PROMPT, "preset": "best"}}, 400, "unknown_preset", "preset"),
    ({"input": {**PROMPT, "solver": "magic"}}, 400, "unknown_solver", "solver"),
    ({"input": {**PROMPT, "strength": 0.5}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "mask_image": data_url(picture())}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": 7}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": "art-nowhere"}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": "data:image/png;base64,AAAA"}}, 400, "unreadable_image", "image"),
    ({"input": {**PROMPT, "image": "data:text/html,x"}}, 400, "unreadable_image", "image"),
    ({"input": {**PROMPT, "image": "https://127.0.0.1/x.png"}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": "http://example.org/x.png"}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": "file:///etc/passwd"}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": "/etc/passwd"}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": "https://x/" + "a" * 5000}}, 400, "bad_input", "image"),
    ({"input": {**PROMPT, "image": data_url(picture(100, 100))}}, 400, "size_not_offered", "width"),
    ({"input": {**PROMPT, "control_image": "art-1"}}, 501, "not_supported", "control_image"),
    ({"input": {**PROMPT, "adapters": {"ink": 1}}}, 400, "unknown_adapter", "adapters"),
    ({"input": PROMPT, "model": "nonesuch"}, 404, "unknown_model", "model"),
    ({"input": PROMPT, "model": "/etc"}, 404, "unknown_model", "model"),
    ({"input": PROMPT, "model": 7}, 400, "bad_input", "model"),
    ({"input": PROMPT, "task": "inpaint"}, 400, "bad_input", "task"),
    ({"input": PROMPT, "task": "paint"}, 400, "bad_input", "task"),
    ({"input": PROMPT, "priority": 101}, 400, "bad_input", "priority"),
    ({"input": PROMPT, "priority": "1"}, 400, "bad_input", "priority"),
    ({"input": PROMPT, "deadline_s": 0}, 400, "bad_input", "deadline_s"),
    ({"input": PROMPT, "deadline_s": math.inf}, 400, "bad_input", "deadline_s"),
    ({"input": PROMPT, "run_at": "tomorrow"}, 400, "bad_input", "run_at"),
    ({"input": PROMPT, "run_at": "2001-01-01T00:00:00Z"}, 400, "bad_input", "run_at"),
    ({"input": PROMPT, "run_at": "2200-01-01T00:00:00Z"}, 400, "bad_input", "run_at"),
    ({"input": PROMPT, "output": {"format": "gif"}}, 400, "bad_input", "output.format"),
    ({"input": PROMPT, "output": {"format": "jpeg", "quality": 0}}, 400, "bad_input", "output.quality"),
    ({"input": PROMPT, "output": {"quality": 90}}, 400, "bad_input", "output"),
    ({"input": PROMPT, "output": {"size": 1}}, 400, "unknown_argument", "output.size"),
    ({"input": PROMPT, "metadata": {"text": "x" * 5000}}, 400, "bad_input", "metadata"),
    ({"input": PROMPT, "metadata": {"deep": [[[[[[[[]]]]]]]]}}, 400, "bad_input", "metadata"),
    ({"input": PROMPT, "metadata": {"x": math.inf}}, 400, "bad_input", "metadata"),
    ({"input": PROMPT, "metadata": {"x": "\ud800"}}, 400, "bad_input", "metadata"),
    ({"input": PROMPT, "webhook": 5}, 400, "bad_input", "webhook"),
    ({"input": PROMPT, "webhook": {**HOOK, "events": ["progress"]}}, 400, "bad_input", "webhook.events.0"),
    ({"input": PROMPT, "webhook": {**HOOK, "events": []}}, 400, "bad_input", "webhook.events"),
    ({"input": PROMPT, "webhook": {**HOOK, "secret": "x"}}, 400, "unknown_argument", "webhook.secret"),
    ({"input": PROMPT, "webhook": "https://127.0.0.1/"}, 400, "bad_input", "webhook"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "field"), REFUSED)
def test_bad_input_is_refused_by_its_name(
    house: Site, body: Mapping[str, Any], status: int, code: str, field: str
) -> None:
    before = house.store.queue()
    text = json.dumps(body)  # NaN and halves of surrogate pairs too, as some clients send them
    got, error = house.refused("POST", "/v1/jobs", content=text.encode(), headers={"Content-Type": "application/json"})
    assert (got, error["code"], error["field"]) == (status, code, field), error["message"]
    assert house.store.queue() == before


def test_a_deadline_before_the_start_is_refused(house: Site) -> None:
    status, error = house.refused(
        "POST", "/v1/jobs", json={"input": PROMPT, "run_at": time.time() + 100, "deadline_s": 50}
    )
    assert (status, error["field"]) == (400, "deadline_s")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"\xff\xfe{", "application/json"),
        (b"null", "application/json"),
        (b"[1]", "application/json"),
        (b'{"input": {"prompt": "x"}}', "text/plain"),
        (b'{"input": {"prompt": "x"}}', "application/x-www-form-urlencoded"),
        (b"[" * 100_000, "application/json"),
        (b'{"input": {"prompt": "x", "seed": ' + b"9" * 5000 + b"}}", "application/json"),
        (b'{"input": {"prompt": ' + b"[" * 500 + b"]" * 500 + b"}}", "application/json"),
        (b'{"input": {"prompt": "x"}, "metadata": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}", "application/json"),
    ],
)
def test_a_body_that_is_no_request_is_bad_input(house: Site, content: bytes, kind: str) -> None:
    status, error = house.refused("POST", "/v1/jobs", content=content, headers={"Content-Type": kind})
    assert (status, error["code"]) == (400, "bad_input")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["prompt", "seed", "width", "height", "image", "mask_image", "strength", "preset", "solver"])


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {"input": st.dictionaries(FIELDS, JSON, max_size=4)},
        optional=dict.fromkeys(("model", "priority", "metadata", "output", "run_at", "deadline_s"), JSON),
    )
)
def test_whatever_is_sent_is_accepted_or_refused_and_never_a_fault(house: Site, body: dict[str, Any]) -> None:
    answer = house.http.post(
        "/v1/jobs", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (202, 400, 404), answer.text


# ---- pictures ----


def test_pictures_are_stored_before_the_job_is_accepted(house: Site) -> None:
    sea, mask = picture(192, 192), picture(192, 192, colour="white")
    uploaded = house.http.post("/v1/uploads", content=sea).json()["artifact_id"]
    said = house.submit({"image": uploaded, "mask_image": data_url(mask), "strength": 0.5, "num_inference_steps": 10})
    assert (said["task"], said["steps"], said["input"]["width"]) == ("inpaint", 5, 192)
    assert said["input"]["image"] == uploaded
    kept = house.store.artifact(said["input"]["mask_image"])
    assert kept is not None
    assert house.storage.get(kept.key) == mask
    assert house.http.get(f"/v1/artifacts/{uploaded}").content == sea


def test_a_refused_request_leaves_no_picture_behind(site: Site) -> None:
    site.refused("POST", "/v1/jobs", json={"input": {**PROMPT, "image": data_url(picture()), "seed": -1}})
    assert list(site.storage.list("uploads")) == []


def test_a_mask_of_another_size_is_refused(house: Site) -> None:
    inputs = {**PROMPT, "image": data_url(picture()), "mask_image": data_url(picture(192, 192))}
    status, error = house.refused("POST", "/v1/jobs", json={"input": inputs})
    assert (status, error["code"], error["field"]) == (400, "mask_size", "mask_image")


def test_a_picture_past_its_limits_is_too_large(tmp_path: Path) -> None:
    with open_site(tmp_path, max_pixels=128 * 128, max_upload_mb=0.01) as site:
        inputs = {**PROMPT, "image": data_url(picture(192, 192))}
        status, error = site.refused("POST", "/v1/jobs", json={"input": inputs})
        assert (status, error["code"], error["field"]) == (413, "too_large", "image")
        noise = base64.b64encode(b"x" * 20_000).decode()
        inputs = {**PROMPT, "image": f"data:image/png;base64,{noise}"}
        status, error = site.refused("POST", "/v1/jobs", json={"input": inputs})
        assert (status, error["code"], error["field"]) == (413, "too_large", "image")


# ---- idempotency, waiting, limits ----


def test_an_idempotency_key_makes_one_job_however_often_it_is_sent(house: Site) -> None:
    body, headers = {"input": PROMPT}, {"Idempotency-Key": "order-66"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: house.http.post("/v1/jobs", json=body, headers=headers), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.json()["input"]["seed"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1


def test_an_idempotency_key_used_for_something_else_is_a_conflict(house: Site) -> None:
    headers = {"Idempotency-Key": "order-67"}
    house.submit(headers=headers)
    status, error = house.refused("POST", "/v1/jobs", json={"input": PROMPT, "priority": 1}, headers=headers)
    assert (status, error["code"]) == (409, "idempotency_conflict")


def test_a_client_may_wait_for_the_end(site: Site) -> None:
    def work() -> None:
        wait_until(lambda: site.store.queue().queued == 1)
        site.complete(site.claim()[1])

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        answer = site.http.post("/v1/jobs", json={"input": PROMPT}, headers={"Prefer": "wait=60"})
        worker.result()
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=60"
    assert len(answer.json()["outputs"]) == 1


def test_a_wait_that_was_too_short_ends_with_202(house: Site) -> None:
    answer = house.http.post("/v1/jobs", json={"input": PROMPT}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    status, error = house.refused("POST", "/v1/jobs", json={"input": PROMPT}, headers={"Prefer": "wait=9999"})
    assert (status, error["field"]) == (400, "Prefer")


def test_a_full_queue_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    with open_site(tmp_path, max_queued=2) as site:
        site.report(step_seconds={"landscapes": 10.0}, facts={"rows": {"landscapes": 2}})
        site.submit({"num_inference_steps": 50})
        site.submit({"num_inference_steps": 50})
        time.sleep(1.1)  # an outlook is used for a second
        status, error = site.refused("POST", "/v1/jobs", json={"input": PROMPT})
        assert (status, error["code"]) == (429, "queue_full")
        answer = site.http.post("/v1/jobs", json={"input": PROMPT})
        # Two jobs of 50 steps and two rows at 10 s for two rows are 1000 s of work; a tenth of that.
        assert answer.headers["retry-after"] == "100"
        site.complete(site.claim()[1])
        assert site.submit()["state"] == "queued"


class Watched:
    """The real store, with an eye on how jobs go in."""

    def __init__(self, store: Any) -> None:
        self._store, self.groups = store, []
        self.may_go = threading.Event()
        self.may_go.set()

    groups: list[int]

    def insert(self, jobs: list[NewJob], *rest: Any) -> Any:
        self.groups.append(len(jobs))
        assert self.may_go.wait(60)
        return self._store.insert(jobs, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_requests_that_arrive_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    store = Watched(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}"))
    with open_site(tmp_path, store=store) as site, ThreadPoolExecutor(24) as pool:  # type: ignore[arg-type]
        store.may_go.clear()
        first = pool.submit(site.submit)
        wait_until(lambda: store.groups == [1])  # it waits for nobody
        others = [pool.submit(site.submit) for _ in range(20)]
        wait_until(lambda: len(site.gateway.intake._waiting) == 20)
        store.may_go.set()
        ids = {each.result()["id"] for each in [first, *others]}
        assert len(ids) == 21
        assert store.groups == [1, 20]


# ---- looking ----


def test_position_and_eta_follow_from_what_workers_measured(site: Site) -> None:
    first = site.submit({"num_inference_steps": 10})
    assert (first["queue_position"], first["eta_s"]) == (0, None)
    site.report(step_seconds={"landscapes": 0.5}, facts={"rows": {"landscapes": 4}, "rest_s": {"landscapes": 1.0}})
    time.sleep(1.1)
    second = site.submit({"num_inference_steps": 20})
    assert second["queue_position"] == 1
    third = site.submit({"num_inference_steps": 20})
    # The second is 2 rows of 20 steps at 0.125 s and 0.25 s of the rest; the first came before anything was measured.
    cost_of_first = site.store.get(first["id"]).cost_s  # type: ignore[union-attr]
    assert third["eta_s"] == pytest.approx(cost_of_first + 5.5 + 20 * 0.5 + 1.0)
    job, lease = site.claim()
    site.step(lease, 4, 10)
    assert site.job(job.id)["eta_s"] == pytest.approx(6 * 0.5 + 1.0)
    assert (site.job(job.id)["progress"], site.job(job.id)["step"], site.job(job.id)["worker"]) == (0.4, 4, "worker-a")
    assert site.job(second["id"])["queue_position"] == 0


def test_a_job_is_charged_by_the_pixels_it_asks_for(site: Site) -> None:
    small, usual = (site.submit({"width": side, "height": side})["id"] for side in (192, 256))
    costs = [site.store.get(job_id).cost_s for job_id in (small, usual)]  # type: ignore[union-attr]
    assert costs[0] == pytest.approx(costs[1] * (192 * 192) / (256 * 256))


def test_a_finished_job_says_everything_about_itself(site: Site) -> None:
    made = site.submit()
    _, lease = site.claim()
    site.complete(lease)
    said = site.job(made["id"])
    assert (said["state"], said["progress"], said["eta_s"], said["queue_position"]) == ("succeeded", 1.0, None, None)
    assert said["created_at"] <= said["queued_at"] <= said["started_at"] <= said["succeeded_at"]
    assert said["metrics"]["denoise_s"] == 0.5
    [output] = said["outputs"]
    assert {name: output[name] for name in ("content_type", "width", "height", "seed")} == {
        "content_type": "image/png",
        "width": 256,
        "height": 256,
        "seed": 7,
    }
    assert site.http.get(output["url"]).content == picture()
    for link in ("self", "events"):
        assert site.http.get(said["links"][link]).status_code == 200
    assert said["links"]["ws"].startswith("ws://127.0.0.1:")


def test_a_failed_job_says_why_and_keeps_earlier_errors(site: Site) -> None:
    made = site.submit()
    _, lease = site.claim()
    site.store.fail(lease, {"code": "worker_died", "message": "gone"}, {}, time.time(), time.time())
    site.store.stage_due(time.time() + 1)
    _, lease = site.claim()
    site.store.fail(lease, {"code": "not_finite", "message": "NaN"}, {}, time.time(), None)
    said = site.job(made["id"])
    assert (said["state"], said["error"]["code"], said["attempt"]) == ("failed", "not_finite", 2)
    assert [error["code"] for error in said["errors"]] == ["worker_died", "not_finite"]


def test_lists_go_page_by_page_newest_first_and_by_filter(site: Site) -> None:
    ids = [site.submit()["id"] for _ in range(5)]
    done, lease = site.claim()
    site.complete(lease)
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = site.http.get("/v1/jobs", params=params).json()
        assert len(page["data"]) <= 2
        seen += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]

    def found(**params: Any) -> set[str]:
        return {job["id"] for job in site.http.get("/v1/jobs", params=params).json()["data"]}

    assert found(state="succeeded") == {done.id}
    assert found(state="queued") == set(ids) - {done.id}
    assert found(model="landscapes", tenant="local", since=0) == set(ids)
    assert found(model="other") == found(tenant="other") == found(since=time.time() + 60) == set()
    positions = [job["queue_position"] for job in site.http.get("/v1/jobs?state=queued").json()["data"]]
    assert sorted(positions) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "query",
    ["state=lost", "limit=0", "limit=201", "limit=x", "since=soon", "cursor=%00", "cursor=zzz", f"model={'x' * 201}"],
)
def test_a_list_that_cannot_be_is_refused(house: Site, query: str) -> None:
    status, error = house.refused("GET", f"/v1/jobs?{query}")
    assert (status, error["code"], error["field"]) == (400, "bad_input", query.split("=")[0])


@pytest.mark.parametrize("job_id", ["job-nowhere", "x" * 300, "%00", "%2E%2E", "a%20b", "%F0%9F%8C%8A"])
def test_an_unknown_job_is_not_found_by_any_verb(house: Site, job_id: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/events"),
        ("PATCH", ""),
    ):
        body = {"json": {"priority": 1}} if method == "PATCH" else {}
        status, error = house.refused(method, f"/v1/jobs/{job_id}{path}", **body)
        assert (status, error["code"]) == (404, "not_found")


# ---- changing ----


def test_priority_changes_who_goes_first_until_a_job_has_started(site: Site) -> None:
    site.submit()
    last = site.submit()
    answer = site.http.patch(f"/v1/jobs/{last['id']}", json={"priority": 5})
    assert (answer.status_code, answer.json()["priority"], answer.json()["queue_position"]) == (200, 5, 0)
    job, _ = site.claim()
    assert job.id == last["id"]
    status, error = site.refused("PATCH", f"/v1/jobs/{job.id}", json={"priority": 9})
    assert (status, error["code"], error["field"]) == (409, "conflict", "priority")
    assert site.job(job.id)["priority"] == 5
    status, error = site.refused("PATCH", f"/v1/jobs/{job.id}", json={"priority": 9, "model": "x"})
    assert (status, error["code"], error["field"]) == (400, "unknown_argument", "model")


def test_cancelling_ends_a_waiting_job_at_once_and_marks_a_running_one(site: Site) -> None:
    waiting = site.submit()
    answer = site.http.post(f"/v1/jobs/{waiting['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    made = site.submit()
    _, lease = site.claim()
    answer = site.http.post(f"/v1/jobs/{made['id']}/cancel")
    assert (answer.status_code, answer.json()["state"], answer.json()["is_cancelling"]) == (202, "running", True)
    assert site.store.cancelling("worker-a") == [made["id"]]
    site.store.confirm_cancelled(lease, {}, time.time())
    assert site.job(made["id"])["state"] == "cancelled"
    assert site.http.post(f"/v1/jobs/{made['id']}/cancel").json()["state"] == "cancelled"


def test_cancelling_a_job_that_waits_for_another_attempt_removes_its_tapes(site: Site) -> None:
    made = site.submit()
    job, lease = site.claim()
    site.storage.put(key_for_tape(job.id, job.fence, 0), b"tape", "application/octet-stream")
    site.store.release([lease], "drained", time.time())
    assert site.http.post(f"/v1/jobs/{made['id']}/cancel").json()["state"] == "cancelled"
    assert list(site.storage.list(prefix_for_outputs(job.id))) == []


def test_removing_a_job_removes_its_pictures_those_of_lost_claims_too(site: Site) -> None:
    made = site.submit()
    _, lost = site.claim()
    site.put_output(lost)
    site.store.release([lost], "drained", time.time())
    _, lease = site.claim()
    done = site.complete(lease)
    assert len(list(site.storage.list("outputs"))) == 2
    assert site.http.delete(f"/v1/jobs/{made['id']}").status_code == 204
    assert list(site.storage.list("outputs")) == []
    assert site.http.get(f"/v1/jobs/{made['id']}").status_code == 404
    assert site.http.get(f"/v1/artifacts/{done.outputs[0].id}").status_code == 404


def test_removing_a_waiting_job_cancels_it_first(site: Site) -> None:
    made = site.submit()
    assert site.http.delete(f"/v1/jobs/{made['id']}").status_code == 204
    assert site.store.get(made["id"]) is None
    assert site.store.queue().queued == 0


def test_removing_a_running_job_waits_for_its_worker_to_stop(site: Site) -> None:
    made = site.submit()
    _, lease = site.claim()
    with ThreadPoolExecutor(1) as pool:
        removing = pool.submit(site.http.delete, f"/v1/jobs/{made['id']}")
        wait_until(lambda: site.store.cancelling("worker-a") == [made["id"]])
        assert site.store.get(made["id"]) is not None
        site.store.confirm_cancelled(lease, {}, time.time())
        assert removing.result().status_code == 204
    assert site.store.get(made["id"]) is None


def test_a_running_job_that_does_not_stop_is_not_removed_and_that_is_said(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.gateway.desk.REMOVE_WAIT_S", 0.2)
    made = site.submit()
    site.claim()
    answer = site.http.delete(f"/v1/jobs/{made['id']}")
    assert (answer.status_code, answer.json()["is_cancelling"]) == (202, True)
    assert answer.headers["retry-after"] == "1"
    assert site.job(made["id"])["state"] == "running"

"""The course text's API: its routes, words, bounds and errors, over our jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from .gateway_site import Site, open_site, picture, wait_until

PROMPT = {"prompt": "A beautiful sunset over mountains"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house")) as site:
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as found:
        yield found


def generate(site: Site, **said: Any) -> dict[str, Any]:
    answer = site.http.post("/generate", json={**PROMPT, **said})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def status(site: Site, job_id: str) -> dict[str, Any]:
    answer = site.http.get(f"/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_picture_from_prompt_to_url(site: Site) -> None:
    said = generate(site)
    assert {name: said[name] for name in ("status", "queue_position", "estimated_time", "warnings")} == {
        "status": "pending",
        "queue_position": 0,
        "estimated_time": None,
        "warnings": ["no worker takes jobs of landscapes now: the job waits until one does"],
    }
    job_id = said["job_id"]
    made = site.job(job_id)["input"]
    assert (made["num_inference_steps"], made["guidance_scale"], made["width"]) == (20, 7.5, 256)
    assert status(site, job_id) == {
        "job_id": job_id, "status": "pending", "progress": 0.0, "image_url": None, "error": None,
    }  # fmt: skip
    _, lease = site.claim()
    site.step(lease, 5, 20)
    assert (status(site, job_id)["status"], status(site, job_id)["progress"]) == ("processing", 0.25)
    site.complete(lease)
    done = status(site, job_id)
    assert (done["status"], done["progress"], done["error"]) == ("completed", 1.0, None)
    fetched = httpx.get(done["image_url"])  # as it stands, by anybody
    assert (fetched.status_code, fetched.content) == (200, picture())


def test_estimated_time_follows_from_what_workers_measured(site: Site) -> None:
    site.report(step_seconds={"landscapes": 0.5})
    assert generate(site)["estimated_time"] == 10.0


def test_a_failure_says_why_and_a_retry_is_still_processing(site: Site) -> None:
    job_id = generate(site)["job_id"]
    _, lease = site.claim()
    site.store.fail(lease, {"code": "worker_died", "message": "gone"}, {}, time.time(), time.time())
    assert status(site, job_id)["status"] == "processing"
    site.store.stage_due(time.time() + 1)
    assert status(site, job_id)["status"] == "processing"
    _, lease = site.claim()
    site.store.fail(lease, {"code": "not_finite", "message": "NaN reached the decoder"}, {}, time.time(), None)
    assert (status(site, job_id)["status"], status(site, job_id)["error"]) == ("failed", "NaN reached the decoder")


@pytest.mark.parametrize("is_running", [False, True])
def test_a_deleted_job_is_gone_at_once(site: Site, is_running: bool) -> None:
    job_id = generate(site)["job_id"]
    lease = site.claim()[1] if is_running else None
    with ThreadPoolExecutor(1) as pool:
        deleting = pool.submit(site.http.delete, f"/jobs/{job_id}")
        if lease is not None:
            wait_until(lambda: site.store.cancelling("worker-a") == [job_id])
            assert site.http.get(f"/jobs/{job_id}").status_code == 404  # also before its worker has stopped
            site.store.confirm_cancelled(lease, {}, time.time())
        answer = deleting.result()
    assert (answer.status_code, answer.json()) == (200, {"message": "Job deleted"})
    for method in ("GET", "DELETE"):
        assert site.http.request(method, f"/jobs/{job_id}").status_code == 404
    assert site.store.get(job_id) is None


def test_a_finished_job_is_deleted_with_its_picture(site: Site) -> None:
    job_id = generate(site)["job_id"]
    site.complete(site.claim()[1])
    url = status(site, job_id)["image_url"]
    assert site.http.delete(f"/jobs/{job_id}").status_code == 200
    assert httpx.get(url).status_code == 404
    assert list(site.storage.list("outputs")) == []


def test_a_socket_tells_status_and_progress_to_the_end(site: Site) -> None:
    job_id = generate(site, num_inference_steps=4)["job_id"]
    with site.socket(f"/ws/jobs/{job_id}") as connection:
        assert json.loads(connection.recv(timeout=60)) == {"status": "pending", "progress": 0.0}
        _, lease = site.claim()
        assert json.loads(connection.recv(timeout=60)) == {"status": "processing", "progress": 0.0}
        for step in range(1, 5):
            site.step(lease, step, preview="data:image/jpeg;base64,AAAA")
            assert json.loads(connection.recv(timeout=60)) == {"status": "processing", "progress": step / 4}
        site.complete(lease)
        assert json.loads(connection.recv(timeout=60)) == {"status": "completed", "progress": 1.0}
        assert list(connection) == []
        assert connection.close_code == 1000


def test_a_socket_ends_when_its_job_is_deleted(site: Site) -> None:
    job_id = generate(site)["job_id"]
    with site.socket(f"/ws/jobs/{job_id}") as connection:
        connection.recv(timeout=60)
        site.http.delete(f"/jobs/{job_id}")
        assert [json.loads(text)["status"] for text in connection] == ["failed"]


@pytest.mark.parametrize("job_id", ["job-nowhere", "0", "x" * 300, "%00"])
def test_an_unknown_job_is_404_in_their_shape(house: Site, job_id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = house.http.request(method, f"/jobs/{job_id}")
        assert answer.status_code == 404
        assert isinstance(answer.json()["detail"], str)
    with pytest.raises(InvalidStatus) as caught, house.socket(f"/ws/jobs/{job_id}"):
        pass
    assert caught.value.response.status_code == 404
    assert isinstance(json.loads(caught.value.response.body)["detail"], str)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"negative_prompt": "x" * 2001}, "negative_prompt"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": -1}, "num_inference_steps"),
        ({"num_inference_steps": 101}, "num_inference_steps"),
        ({"num_inference_steps": "20"}, "num_inference_steps"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"guidance_scale": 20.5}, "guidance_scale"),
        ({"width": 256}, "height"),
        ({"width": 512, "height": 512}, "width"),
        ({"width": 4096, "height": 4096}, "width"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_bad_input_is_refused_by_its_field_in_their_shape(house: Site, said: dict[str, Any], field: str) -> None:
    answer = house.http.post("/generate", json={**PROMPT, **said})
    assert answer.status_code == 400
    [problem] = answer.json()["detail"]
    assert problem["loc"] == ["body", field]
    assert problem["msg"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_request_is_refused_in_their_shape(house: Site, content: bytes) -> None:
    answer = house.http.post("/generate", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "detail" in answer.json()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_guidance_that_is_no_finite_number_is_refused_in_their_shape(house: Site, number: str) -> None:
    content = f'{{"prompt": "a lake", "guidance_scale": {number}}}'.encode()
    answer = house.http.post("/generate", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    [problem] = answer.json()["detail"]
    assert problem["loc"][0] == "body"
    assert "guidance_scale" in problem["loc"] or "finite" in problem["msg"]


def test_unknown_fields_are_accepted_and_named(house: Site) -> None:
    said = generate(house, style="noir", width=192, height=192, seed=7, negative_prompt="rain")
    assert "style is not known here and was ignored" in said["warnings"]
    assert house.job(said["job_id"])["input"]["seed"] == 7


def test_a_full_queue_is_429_with_when_to_come_back(tmp_path: Path) -> None:
    with open_site(tmp_path, max_queued=1) as site:
        generate(site)
        answer = site.http.post("/generate", json=PROMPT)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
        assert isinstance(answer.json()["detail"], str)

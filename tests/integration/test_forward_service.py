"""A static front and a hidden backend as they are run: `darkroom serve` twice, a key between them, real pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from .service import QUICK, Service, served, wait_until

pytestmark = [pytest.mark.slow]

FRONT = """
[serve]
models = ["landscapes"]
lease_s = 6.0
heartbeat_s = 0.5
log_format = "json"

[models.landscapes]
remote = "{url}"
api_key_file = "backend.key"
"""


@dataclass
class Both:
    """The front, as people reach it, and the backend with the front's key."""

    front: Service
    backend: Service
    key: str

    def there(self, method: str, path: str, **what: Any) -> httpx.Response:
        """Asked at the backend itself, with the key."""
        return self.backend.ask(method, path, headers={"Authorization": f"Bearer {self.key}"}, **what)

    def jobs_there(self) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = self.there("GET", "/jobs", params={"limit": 100}).json()["data"]
        return data


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    home, hidden = tmp_path_factory.mktemp("front"), tmp_path_factory.mktemp("backend")
    key = create_key(hidden)
    with served(hidden) as backend:
        (home / "backend.key").write_text(f"{key}\n")
        (home / "darkroom.toml").write_text(FRONT.format(url=backend.url))
        with served(home) as front:
            yield Both(front, backend, key)


def create_key(home: Path) -> str:
    """A key as its operator makes it, in the backend's own store."""
    made = subprocess.run(
        [sys.executable, "-m", "darkroom", "keys", "create", "front", "--json"],
        env={**os.environ, "DARKROOM_HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    return str(json.loads(made.stdout)["key"])


def picture_of(service: Service, job: dict[str, Any], **what: Any) -> bytes:
    return service.ask("GET", f"/artifacts/{job['outputs'][0]['artifact_id']}", **what).content


def test_an_image_through_the_front_is_the_one_that_the_backend_makes(both: Both) -> None:
    asked = {**QUICK, "seed": 77, "reproducible": True}
    through = both.front.wait_all([both.front.submit("same", **asked)])[0]
    [made] = [job for job in both.jobs_there() if job["metadata"] == {"forwarded_for": through["id"]}]
    direct = both.there("POST", "/jobs", json={"input": asked}).json()["id"]
    wait_until(lambda: both.there("GET", f"/jobs/{direct}").json()["state"] == "succeeded")
    job = both.there("GET", f"/jobs/{direct}").json()
    headers = {"headers": {"Authorization": f"Bearer {both.key}"}}
    assert through["state"] == "succeeded"
    assert picture_of(both.front, through) == picture_of(both.backend, job, **headers)
    assert through["metrics"]["device_s"] == pytest.approx(made["metrics"]["device_s"])
    assert through["metrics"]["device_s"] > 0


def test_the_backend_refuses_who_lacks_its_key(both: Both) -> None:
    assert both.backend.ask("POST", "/jobs", json={"input": QUICK}).status_code == 401
    assert both.backend.ask("GET", "/models").status_code == 401


def test_no_worker_runs_at_the_front(both: Both) -> None:
    assert both.front.processes("worker") == []
    assert len(both.front.processes("forward")) == 1


def test_progress_and_cancel_pass_through(both: Both) -> None:
    job_id = both.front.submit("long", num_inference_steps=400)
    wait_until(lambda: both.front.job(job_id)["step"] > 2)
    answer = both.front.ask("GET", f"/jobs/{job_id}")
    assert 0 < answer.json()["progress"] < 1
    both.front.ask("POST", f"/jobs/{job_id}/cancel")
    [job] = both.front.wait_all([job_id])
    assert job["state"] == "cancelled"
    [there] = [each for each in both.jobs_there() if each["metadata"] == {"forwarded_for": job_id}]
    wait_until(lambda: both.there("GET", f"/jobs/{there['id']}").json()["state"] == "cancelled")


def test_a_killed_forwarder_costs_no_job_and_makes_no_second_one(both: Both) -> None:
    job_id = both.front.submit("killed", num_inference_steps=60)
    wait_until(lambda: both.front.job(job_id)["step"] > 2)
    both.front.kill("forward")
    [job] = both.front.wait_all([job_id])
    assert (job["state"], job["attempt"], len(job["outputs"])) == ("succeeded", 1, 1)
    assert len([each for each in both.jobs_there() if each["metadata"] == {"forwarded_for": job_id}]) == 1
    text = both.front.ask("GET", f"/jobs/{job_id}/events").text
    assert text.count("event: succeeded") == 1


def test_neither_key_nor_address_is_told(both: Both) -> None:
    paths = ("/models", "/models/landscapes", "/jobs", "/workers")
    told = "".join(both.front.ask("GET", path).text for path in paths)
    told += both.front.ask("GET", "/metrics", root=True).text + "".join(both.front.said)
    assert both.key not in told
    assert both.key.split("_")[-1] not in told
    assert both.backend.url.removeprefix("http://") not in told


def test_jobs_wait_for_a_backend_that_is_away(both: Both) -> None:
    port = both.backend.port
    both.backend.stop()
    job_id = both.front.submit("away")
    time.sleep(1.0)
    assert both.front.job(job_id)["state"] in ("queued", "running")
    both.backend.start(port)
    [job] = both.front.wait_all([job_id])
    assert job["state"] == "succeeded"

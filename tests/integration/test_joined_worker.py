"""A worker that has nothing but a gateway's address and a key, as processes: it makes pictures, goes on, and drains."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from darkroom.core import JobState
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Store
from darkroom.storage.objects import open_storage
from darkroom.storage.tapes import key_for_tape

from .callers import Holder, add_key
from .gateway_site import picture
from .service import FINAL, QUICK, free_port, wait_until

pytestmark = pytest.mark.slow

LONG = 900
END_S = 120.0
TIMEOUT_S = 30.0


@dataclass
class Town:
    """A gateway at one place, and the folder of a worker at another."""

    folder: Path
    store: Store
    user: Holder
    worker: Holder
    port: int = field(default_factory=free_port)
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, home: str, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """`darkroom …` with a home of its own; what it says goes to a file beside it."""
        (self.folder / home).mkdir(exist_ok=True)
        environment = {**os.environ, "DARKROOM_HOME": str(self.folder / home), "OMP_WAIT_POLICY": "PASSIVE", **more}
        with (self.folder / f"{home}.log").open("ab") as log:
            command = [sys.executable, "-m", "darkroom", *arguments]
            child = subprocess.Popen(command, cwd=self.folder / home, env=environment, stdout=log, stderr=log)
        self.children.append(child)
        return child

    def start_gateway(self) -> subprocess.Popen[bytes]:
        gateway = self.start("gateway", "gateway", "--port", str(self.port))
        wait_until(lambda: self.status("/healthz") == 200 or gateway.poll() is not None)
        assert gateway.poll() is None, self.said("gateway")
        return gateway

    def start_worker(self, key: str) -> subprocess.Popen[bytes]:
        return self.start("far", "worker", "--gateway", self.url, "--id", "gpu", DARKROOM_API_KEY=key)

    def said(self, home: str) -> str:
        return (self.folder / f"{home}.log").read_text()

    def status(self, path: str) -> int:
        try:
            return httpx.get(f"{self.url}{path}", timeout=TIMEOUT_S).status_code
        except httpx.HTTPError:
            return 0

    def ask(self, method: str, path: str, **what: Any) -> Any:
        """A user's request that is accepted."""
        answer = httpx.request(method, f"{self.url}/v1{path}", headers=self.user.headers, timeout=TIMEOUT_S, **what)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    def submit(self, **inputs: Any) -> str:
        return str(self.ask("POST", "/jobs", json={"input": {**QUICK, **inputs}})["id"])

    def job(self, job_id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.ask("GET", f"/jobs/{job_id}")
        return found

    def step(self, job_id: str) -> int:
        job = self.store.get(job_id)
        assert job is not None
        assert job.state == JobState.RUNNING or job.step == 0, job
        return job.step


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    (tmp_path / "gateway").mkdir()
    with closing(open_store(f"sqlite:///{tmp_path / 'gateway' / 'jobs.sqlite3'}")) as store:
        found = Town(tmp_path, store, add_key(store, "ann"), add_key(store, "machines", "worker"))
        try:
            yield found
        finally:
            for child in found.children:
                if child.poll() is None:
                    child.kill()
                child.wait()


@contextmanager
def far_away(town: Town) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has joined."""
    (town.folder / "far").mkdir()
    (town.folder / "far" / "darkroom.toml").write_text("[serve]\ndrain_s = 0.01\n")
    worker = town.start_worker(town.worker.shown)
    wait_until(lambda: town.status("/readyz") == 200 or worker.poll() is not None)
    assert worker.poll() is None, town.said("far")
    yield worker


def test_a_worker_with_an_address_and_a_key_makes_pictures_and_goes_on(town: Town) -> None:
    gateway = town.start_gateway()
    with far_away(town) as worker:
        # From a picture, to a picture: bytes go both ways.
        upload = httpx.post(f"{town.url}/v1/uploads", content=picture(192, 192), headers=town.user.headers).json()
        job_id = town.submit(image=upload["artifact_id"], strength=0.5)
        wait_until(lambda: town.job(job_id)["state"] in FINAL)
        job = town.job(job_id)
        assert (job["state"], job["worker"], job["attempt"]) == ("succeeded", f"gpu-{town.worker.id}", 1), job
        [output] = job["outputs"]
        made = httpx.get(f"{town.url}/v1/artifacts/{output['artifact_id']}", headers=town.user.headers)
        assert Image.open(io.BytesIO(made.content)).size == (192, 192)
        assert job["metrics"]["device_s"] > 0
        assert not list((town.folder / "far").rglob("*.sqlite3"))
        assert not (town.folder / "far" / "artifacts").exists()

        # The gateway is killed in the middle and comes back: the job goes on where it is.
        long_id = town.submit(num_inference_steps=LONG)
        wait_until(lambda: town.step(long_id) > 0)
        gateway.send_signal(signal.SIGKILL)
        gateway.wait(END_S)
        seen = town.step(long_id)
        gateway = town.start_gateway()
        wait_until(lambda: town.step(long_id) > seen)
        found = town.store.get(long_id)
        assert found is not None
        assert (found.attempt, found.fence, found.errors) == (1, 1, ())

        # A cancel reaches it.
        town.ask("POST", f"/jobs/{long_id}/cancel")
        wait_until(lambda: town.job(long_id)["state"] == "cancelled")

        # SIGTERM: what it cannot finish in its own `drain_s` is handed back, uncharged and with its tape.
        left_id = town.submit(num_inference_steps=LONG)
        wait_until(lambda: town.step(left_id) > 0)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(END_S) == 0, town.said("far")
    left = town.store.get(left_id)
    assert left is not None
    assert (left.state, left.attempt, left.errors) == (JobState.QUEUED, 0, ())
    [tape] = open_storage(str(town.folder / "gateway" / "artifacts")).list(f"outputs/{left_id}")
    assert tape == key_for_tape(left_id, left.fence, 0)
    [report] = [each for each in town.store.workers(0.0) if each.id == f"gpu-{town.worker.id}"]
    assert report.state == "stopped"


def test_a_worker_that_may_not_join_ends_and_says_what_to_do(town: Town) -> None:
    town.start_gateway()
    for key, said in ((f"dk_{'0' * 12}_{'0' * 64}", "does not know this key"), (town.user.shown, "--role worker")):
        assert town.start_worker(key).wait(END_S) == 1
        assert said in town.said("far")
    assert "Traceback" not in town.said("far")
    assert town.start("odd", "worker", "--gateway", "images.example.org").wait(END_S) == 2
    assert "https://HOST" in town.said("odd")
    assert town.start("odd", "gateway", "--port", "0", DARKROOM_STORE=town.url).wait(END_S) == 2
    assert "a store for `darkroom worker` alone" in town.said("odd")

"""A whole service in processes of its own, for tests that end them: real gateway, real workers, real store."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image

PATIENCE_S = 240.0
IS_TLS = False  # or each request reads all certificates there are: 40 ms of a core
READY = re.compile(r"API +(http://\S+)/v1")
QUICK: dict[str, Any] = {
    "prompt": "night, full moon over a lake",
    "num_inference_steps": 4,
    "width": 192,
    "height": 192,
}
FINAL = {"succeeded", "failed", "cancelled"}


class Service:
    """`darkroom serve` in a folder of its own; what it says is kept in `said`."""

    def __init__(self, home: Path, environment: Mapping[str, str], arguments: tuple[str, ...]) -> None:
        self.home, self.said = home, []
        self._environment, self._arguments = dict(environment), arguments
        self.url = ""
        self.start()

    said: list[str]
    process: subprocess.Popen[str]

    def start(self, port: str = "0") -> None:
        """Start the supervisor; returns when it has said where it listens."""
        command = [sys.executable, "-m", "darkroom", "serve", "--port", port, *self._arguments]
        environment = {**os.environ, "DARKROOM_HOME": str(self.home), "OMP_WAIT_POLICY": "PASSIVE", **self._environment}
        self.process = subprocess.Popen(
            command, cwd=self.home, env=environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.url = ""
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()
        wait_until(lambda: self.url != "" or self.process.poll() is not None)
        assert self.url, "".join(self.said)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self.said.append(line)
                found = READY.search(line)
                if found:
                    self.url = found[1]

    @property
    def port(self) -> str:
        return self.url.rsplit(":", 1)[1]

    def processes(self, kind: str) -> list[psutil.Process]:
        """The living children of the supervisor that run as `darkroom KIND`."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if kind in child.cmdline()]
        except psutil.NoSuchProcess:
            return []

    def kill(self, kind: str) -> None:
        """kill -9 one child."""
        for child in self.processes(kind)[:1]:
            child.kill()

    def wait_ready(self) -> None:
        wait_until(lambda: self.ask("GET", "/readyz", root=True, is_patient=False).status_code == 200)

    def ask(
        self, method: str, path: str, *, root: bool = False, is_patient: bool = True, **what: Any
    ) -> httpx.Response:
        """One request; a patient one is repeated while nobody answers, as a client with an idempotency key may."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                url = f"{self.url}{'' if root else '/v1'}{path}"
                answer = httpx.request(method, url, timeout=60, verify=IS_TLS, **what)
            except httpx.TransportError:
                if not is_patient:
                    return httpx.Response(599)
            else:
                if answer.status_code not in (429, 503) or not is_patient:
                    return answer
            assert time.monotonic() < end, "nobody answered in time"
            time.sleep(0.1)

    def submit(self, key: str, **inputs: Any) -> str:
        """A job's id, safe to repeat."""
        answer = self.ask("POST", "/jobs", json={"input": {**QUICK, **inputs}}, headers={"Idempotency-Key": key})
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.ask("GET", f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait_all(self, ids: list[str], patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """The jobs, each in its final state."""
        left, ended, end = list(ids), {}, time.monotonic() + patience_s
        while left:
            for job in [self.job(job_id) for job_id in left]:
                if job["state"] in FINAL:
                    ended[job["id"]] = job
            left = [job_id for job_id in left if job_id not in ended]
            assert time.monotonic() < end, f"{len(left)} jobs have not ended, such as {self.job(left[0])}"
            time.sleep(0.2)
        return [ended[job_id] for job_id in ids]

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.abandon()
            raise

    def abandon(self) -> None:
        """End whatever is left of it."""
        children = self.processes("gateway") + self.processes("worker") + self.processes("fleet")
        for process in [*children, *([psutil.Process(self.process.pid)] if self.process.poll() is None else [])]:
            process.kill()
        self.process.wait()


def kinds_of(service: Service, job_id: str) -> list[str]:
    """The types of a job's events, from the service's own stream."""
    answer = service.ask("GET", f"/jobs/{job_id}/events")
    return [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]


def check_each_ended_once(
    service: Service,
    ids: list[str],
    jobs: list[dict[str, Any]],
    size: tuple[int, int] = (QUICK["width"], QUICK["height"]),
    every: int = 20,
) -> None:
    """These and no others are in the store, and each has succeeded; of one in `every`, once, with a picture."""
    assert len(set(ids)) == len(ids)
    assert sorted(job["id"] for job in jobs) == sorted(ids)
    assert {job["state"] for job in jobs} == {"succeeded"}, [job["errors"] for job in jobs if job["errors"]][:3]
    for job in jobs:
        assert len(job["outputs"]) == 1
    for job in jobs[::every]:
        assert [kind for kind in kinds_of(service, job["id"]) if kind in FINAL] == ["succeeded"]
        picture = service.ask("GET", f"/artifacts/{job['outputs'][0]['artifact_id']}")
        assert Image.open(io.BytesIO(picture.content)).size == size
    listed = []
    cursor: str | None = ""
    while cursor is not None:
        page = service.ask("GET", "/jobs", params={"limit": 100, **({"cursor": cursor} if cursor else {})}).json()
        listed += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
    assert sorted(listed) == sorted(ids)


@contextmanager
def served(home: Path, *arguments: str, **environment: str) -> Iterator[Service]:
    """A service that is ready, and gone afterwards."""
    service = Service(home, environment, arguments)
    try:
        service.wait_ready()
        yield service
    finally:
        service.abandon()


def wait_until(is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

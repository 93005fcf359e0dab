"""A gateway on a free port over a real store and real storage; the test plays the worker with the store's own verbs."""

from __future__ import annotations

import io
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from PIL import Image
from websockets.sync.client import ClientConnection, connect

from darkroom.config import ServeSettings, Settings
from darkroom.core import Artifact, Job, Lease, WorkerReport
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Gateway, Parts
from darkroom.gateway.server import make_server
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Limits, Store
from darkroom.model_settings import AdapterSettings, ModelSettings
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import Storage, key_for_output, open_storage

PATIENCE_S = 60.0
PROMPT = {"prompt": "night, full moon over a lake", "num_inference_steps": 4}
WORKER = "worker-a"


PREVIEW = "data:image/jpeg;base64,AAAA"


class Site:
    """What a test has in its hands: the API's address, and what lies behind it."""

    def __init__(self, url: str, parts: Parts, gateway: Gateway) -> None:
        self.url, self.parts, self.gateway = url, parts, gateway
        self.http = httpx.Client(base_url=url, timeout=PATIENCE_S)

    @property
    def store(self) -> Store:
        return self.parts.store

    @property
    def storage(self) -> Storage:
        return self.parts.storage

    # A client.

    def submit(self, inputs: Mapping[str, Any] = PROMPT, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        """The answer's JSON of an accepted job."""
        answer = self.http.post("/v1/jobs", json={"input": {**PROMPT, **inputs}, **body}, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def refused(self, method: str, path: str, **what: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of a request that is refused in the one shape."""
        answer = self.http.request(method, path, **what)
        assert set(answer.json()) == {"error"}, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert set(error) == {"code", "message", "field", "request_id"}
        assert error["request_id"] == answer.headers["x-request-id"]
        return answer.status_code, error

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def socket(self, path: str, **headers: str) -> ClientConnection:
        return connect(f"{self.url.replace('http', 'ws')}{path}", additional_headers=headers, max_size=None)

    # A worker.

    def report(self, state: str = "ready", **said: Any) -> None:
        """A worker's heartbeat."""
        report = WorkerReport(WORKER, state, time.time(), models=("landscapes",), loaded=("landscapes",))
        self.store.heartbeat(replace(report, **said), [], time.time())

    def claim(self) -> tuple[Job, Lease]:
        """The next job, as a worker takes it."""
        [job] = self.store.claim(Claimant(WORKER, ("landscapes",), ("landscapes",)), 1, time.time())
        return job, Lease(job.id, job.fence)

    def step(self, lease: Lease, step: int, steps: int = 4, preview: str | None = None) -> None:
        self.store.report_step(lease, step, steps, time.time(), preview)

    def complete(self, lease: Lease) -> Job:
        """Store a picture and end the job with it."""
        return self.store.complete(lease, [self.put_output(lease)], {"denoise_s": 0.5}, time.time())

    def put_output(self, lease: Lease) -> Artifact:
        key, data = key_for_output(lease.job_id, lease.fence, 0, ".png"), picture()
        self.storage.put(key, data, "image/png")
        artifact_id = f"art-{secrets.token_hex(6)}"
        return Artifact(artifact_id, "local", key, "image/png", len(data), time.time(), lease.job_id, 256, 256, 7)


@contextmanager
def open_site(
    home: Path,
    *,
    store: Store | None = None,
    parts: Mapping[str, Any] | None = None,
    at: int = 0,
    adapters: Mapping[str, Path] | None = None,
    models: Mapping[str, ModelSettings] | None = None,
    **serve: Any,
) -> Iterator[Site]:
    """A gateway whose `[serve]` says `serve`, `[adapters]` these files and `[models]` these; all closed afterwards."""
    named = {name: AdapterSettings(path=path) for name, path in (adapters or {}).items()}
    settings = settings_in(home, **serve).model_copy(update={"adapters": named, "models": dict(models or {})})
    own = store or open_store(settings.store_url, Limits(settings.serve.lease_s))
    with closing(own):
        storage = open_storage(settings.storage_url)
        made = Parts(settings, own, storage, catalogue(settings), **(parts or {}))
        app = build_app(made)
        with running(app, at) as url:
            site = Site(url, made, app.state.gateway)
            with site.http:
                yield site


def settings_in(home: Path, **serve: Any) -> Settings:
    return Settings(
        home=home,
        config_file=None,
        offline=True,
        default_model="landscapes",
        threads=None,
        models={},
        serve=ServeSettings(**serve),
    )


@contextmanager
def running(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The application in a thread; its address."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="test-gateway")
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the gateway did not stop"


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def picture(width: int = 256, height: int = 256, kind: str = "PNG", colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


def played(site: Site) -> str:
    """A job that has run to its end."""
    job_id = str(site.submit()["id"])
    _, lease = site.claim()
    for step in range(1, 5):
        site.step(lease, step, preview=PREVIEW)
    site.complete(lease)
    return job_id


def events_of(lines: Iterator[str], until: Callable[[dict[str, Any]], bool] | None = None) -> list[dict[str, Any]]:
    """Events of an SSE stream, to its end or the first that is wanted; ids and types must agree with the JSON."""
    found: list[dict[str, Any]] = []
    said: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            said[name] = value
        elif "data" in said:
            event = json.loads(said["data"])
            assert (said["id"], said["event"]) == (str(event["seq"]), event["type"])
            found.append(event)
            said = {}
            if until is not None and until(event):
                return found
    return found

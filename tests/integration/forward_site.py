"""A front that keeps the jobs, and behind it a Darkroom that only it reaches; a test plays the worker over there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from darkroom.config import Settings, load
from darkroom.core import Job
from darkroom.forward.forwarder import Forwarder
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits
from darkroom.models.catalogue import catalogue, served
from darkroom.storage.objects import open_storage
from darkroom.worker.events import WorkerEvent

from .gateway_site import PATIENCE_S, Site, running, wait_until

SERVE = (
    "models = ['hidden']\nlease_s = 3.0\nheartbeat_s = 0.5\nretry_s = 0.1\ndrain_s = 1.0\nprice_per_hour_usd = 7.2\n"
)


def settings_for(home: Path, url: str, said: str = "", serve: str = SERVE) -> Settings:
    """A front whose one model runs at that address."""
    home.mkdir(parents=True, exist_ok=True)
    model = f'[models.hidden]\nremote = "{url}"\nremote_model = "landscapes"\n{said}\n'
    (home / "darkroom.toml").write_text(f'home = "home"\ndefault_model = "hidden"\n[serve]\n{serve}\n{model}')
    settings = load(home / "darkroom.toml")
    settings.home.mkdir(exist_ok=True)
    return settings


@contextmanager
def open_front(settings: Settings) -> Iterator[Site]:
    """The front's gateway."""
    with closing(open_store(settings.store_url, Limits(settings.serve.lease_s))) as store:
        parts = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings))
        app = build_app(parts)
        with running(app) as url:
            site = Site(url, parts, app.state.gateway)
            with site.http:
                yield site


@dataclass
class Running:
    """A forwarder in a thread of this process."""

    forwarder: Forwarder
    heard: list[WorkerEvent] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


@contextmanager
def forwarding(site: Site, worker_id: str = "forwarder-1") -> Iterator[Running]:
    """A forwarder over the front's store and storage; it hands back what it has at the end."""
    heard: list[WorkerEvent] = []
    settings = site.parts.settings
    entries = [entry for entry in served(settings) if entry.is_remote]
    forwarder = Forwarder(settings, site.store, site.storage, entries, worker_id=worker_id, listeners=[heard.append])
    made = Running(forwarder, heard)

    def live() -> None:
        try:
            forwarder.run()
        except BaseException as error:
            made.failures.append(error)

    thread = threading.Thread(target=live, name="test-forwarder")
    thread.start()
    try:
        yield made
    finally:
        forwarder.ask_stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the forwarder did not stop"


@contextmanager
def forward_process(settings: Settings, worker_id: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`darkroom forward` in a process of its own; killed at the end where it still runs."""
    command = [sys.executable, "-m", "darkroom", "forward", "--id", worker_id, "--config", str(settings.config_file)]
    with (settings.home / f"{worker_id}.log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def found(site: Site, job_id: str) -> Job:
    """The job as the front's store has it."""
    job = site.store.get(job_id)
    assert job is not None
    return job


def wait_for(site: Site, job_id: str, *states: str) -> Job:
    """Until it is in one of these states; the store is kept meanwhile, as its keeper would."""

    wait_until(lambda: keep(site) and found(site, job_id).state in states)
    return found(site, job_id)


def keep(site: Site) -> bool:
    """What a keeper does to the rows."""
    now = time.time()
    site.store.stage_due(now)
    site.store.rescue(now)
    site.store.expire(now)
    return True


def all_jobs(site: Site) -> list[dict[str, Any]]:
    """Every job that this site's API lists."""
    data: list[dict[str, Any]] = site.http.get("/v1/jobs?limit=200").json()["data"]
    return data

"""A worker over a real store and a real storage, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from darkroom.config import Settings, load
from darkroom.core import Artifact, Job, NewJob
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits, Store
from darkroom.models.catalogue import BUNDLED_FOLDER, catalogue
from darkroom.storage.objects import Storage, key_for_upload, open_storage
from darkroom.worker.events import StateChanged, Tell, WorkerEvent
from darkroom.worker.serving import entries_of, preloaded
from darkroom.worker.worker import Worker
from tests.unit.worker.jobs import new_job

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "worker_program.py"
LANDSCAPES = BUNDLED_FOLDER / "landscapes"
PATIENCE_S = 900.0  # nothing here takes so long on any machine; a test that waits longer hangs
POLL_S = 0.02


@dataclass
class Place:
    """A folder with its darkroom.toml, the store and the storage that it names."""

    folder: Path
    settings: Settings
    store: Store
    storage: Storage
    count: int = 0

    def submit(self, **said: Any) -> str:
        """Insert a quick job; returns its id."""
        return self.submit_all([said])[0]

    def submit_all(self, several: list[Mapping[str, Any]]) -> list[str]:
        """Insert several at once."""
        now = time.time()
        jobs: list[NewJob] = []
        for said in several:
            self.count += 1
            jobs.append(new_job(f"job-{self.count}", now=now, **said))
        answers = self.store.insert(jobs, now)
        assert all(isinstance(answer, Job) for answer in answers), answers
        return [job.id for job in jobs]

    def job(self, job_id: str) -> Job:
        """As the store has it now."""
        found = self.store.get(job_id)
        assert found is not None
        return found

    def upload(self, artifact_id: str, data: bytes) -> str:
        """A picture for a job to start from."""
        key = key_for_upload(artifact_id, ".png")
        self.storage.put(key, data, "image/png")
        artifact = Artifact(artifact_id, "local", key, "image/png", len(data), time.time())
        self.store.add_artifact(artifact)
        return artifact_id

    def wait(self, *job_ids: str, keep: bool = False) -> list[Job]:
        """Until they have ended; with `keep` the store is kept meanwhile, as a gateway would."""
        self.until(lambda: all(self.job(job_id).is_final for job_id in job_ids), keep=keep)
        return [self.job(job_id) for job_id in job_ids]

    def until(self, holds: Callable[[], bool], *, keep: bool = False) -> None:
        """Wait for something to hold; fails after `PATIENCE_S`."""
        give_up = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < give_up, "waited in vain"
            if keep:
                self.store.stage_due(time.time())
                self.store.rescue(time.time())
                self.store.expire(time.time())
            time.sleep(POLL_S)


@contextlib.contextmanager
def place(folder: Path, said: str = "", *, head: str = "") -> Iterator[Place]:
    """A folder with this in its `[serve]`; closed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "darkroom.toml"
    path.write_text(f'home = "home"\n{head}\n[serve]\n{said}\n')
    settings = load(path)
    settings.home.mkdir(exist_ok=True)
    store = open_store(settings.store_url, Limits(settings.serve.lease_s))
    try:
        yield Place(folder, settings, store, open_storage(settings.storage_url))
    finally:
        store.close()


@dataclass
class Heard:
    """Everything a worker told, in order; also a listener itself."""

    events: list[WorkerEvent] = field(default_factory=list)

    def __call__(self, event: WorkerEvent) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        """Those of one kind."""
        return [event for event in list(self.events) if isinstance(event, kind)]


@dataclass
class Running:
    """A worker in a thread of this process."""

    worker: Worker
    heard: Heard
    thread: threading.Thread
    failures: list[BaseException]

    def stop(self) -> None:
        """Hand back what is there and wait for the end."""
        self.worker.ask_stop()
        self.join()

    def join(self) -> None:
        """Wait for the end."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def working(
    at: Place, *models: str, worker_id: str = "w1", listeners: tuple[Tell, ...] = (), wait_ready: bool = True
) -> Iterator[Running]:
    """A worker in a thread; stopped at the end, and torch's threads as before."""
    threads = torch.get_num_threads()
    known = catalogue(at.settings)
    entries = entries_of(known, models, is_offline=True)
    heard, failures = Heard(), list[BaseException]()
    preload = preloaded(tuple(entries), models, known.default)
    worker = Worker(
        at.settings,
        at.store,
        at.storage,
        entries,
        worker_id=worker_id,
        preload=preload,
        listeners=(heard, *listeners),
    )

    def live() -> None:
        try:
            worker.run()
        except BaseException as error:
            failures.append(error)

    running = Running(worker, heard, threading.Thread(target=live, name=f"test-{worker_id}"), failures)
    running.thread.start()
    try:
        if wait_ready:
            at.until(lambda: StateChanged("ready") in heard.events or bool(failures))
        yield running
    finally:
        running.stop()
        torch.set_num_threads(threads)


@dataclass
class Process:
    """A worker in a process of its own."""

    popen: subprocess.Popen[bytes]
    worker_id: str

    def kill(self) -> None:
        """As the kernel would."""
        self.popen.kill()
        self.popen.wait(PATIENCE_S)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE_S)


def launch(at: Place, worker_id: str, *arguments: str) -> Process:
    """Start `worker_program.py`; the caller ends it."""
    command = [sys.executable, str(PROGRAM), str(at.folder / "darkroom.toml"), worker_id, *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "HF_HUB_OFFLINE": "1"}
    with (at.folder / f"{worker_id}.log").open("w") as log:
        return Process(subprocess.Popen(command, env=env, stdout=log, stderr=log), worker_id)


@contextlib.contextmanager
def launched(at: Place, worker_id: str, *arguments: str) -> Iterator[Process]:
    """A worker process that is ready; killed at the end where it still runs."""
    process = launch(at, worker_id, *arguments)
    try:
        at.until(lambda: is_ready(at, worker_id) or process.popen.poll() is not None)
        assert process.popen.poll() is None, (at.folder / f"{worker_id}.log").read_text()
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()


def is_ready(at: Place, worker_id: str) -> bool:
    """Whether the worker says so."""
    return any(report.id == worker_id and report.state == "ready" for report in at.store.workers(0.0))

"""Real Redis servers for the store's tests, a wire to one that can be cut, and a look at whether the keys agree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from darkroom.core import Artifact, Job, Lease, NewJob
from darkroom.jobs.redis import RedisStore
from darkroom.jobs.store import Claimant, Limits
from tests.missing import need

NOW = 1_000_000.0
LEASE_S = 30.0
LIMITS = Limits(lease_s=LEASE_S)
PATIENCE_S = 60.0
ANYONE = Claimant("w", ("m",), ("m",))


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A Redis over the files in `folder`; `flags` stand above its append-only file with fsync once a second."""

    def __init__(self, folder: Path, **flags: str) -> None:
        self.port = free_port()
        self._flags = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(folder), "save": ""}
        self._flags |= {"appendonly": "yes", "appendfsync": "everysec"}
        self._flags |= {name.replace("_", "-"): value for name, value in flags.items()}
        self._program = need("redis-server")
        self._log = folder / "log"
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, is_awaited: bool = True) -> None:
        """Start it; returns when it answers."""
        words = [word for name, value in self._flags.items() for word in (f"--{name}", value)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([self._program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE_S
        while is_awaited and not self._answers():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100)[:1] == b"+"
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9; its files stay."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """It no longer answers, and its connections stay open."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis(port=self.port, decode_responses=True) as client:
            yield client

    def set(self, **settings: str) -> None:
        with self.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)


class Wire:
    """A TCP wire to a server that can lose answers or fall silent."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._silent = threading.Event()
        self._losing = threading.Event()
        self.lost = 0
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def lose_next_answer(self) -> None:
        """The next command arrives, and the connection breaks before its answer does."""
        self._losing.set()

    def fall_silent(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._silent.set()

    def speak_again(self) -> None:
        """What the silence held back is lost, as connections that a firewall has forgotten."""
        self._drop_all()
        self._silent.clear()

    def close(self) -> None:
        self._listener.close()
        self._drop_all()

    def _drop_all(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self._silent.is_set():
                    continue
                if is_answer and self._losing.is_set():
                    self._losing.clear()
                    self.lost += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def new_job(job_id: str, **fields: object) -> NewJob:
    given = {"tenant": "t", "model": "m", "task": "text-to-image", "input": {"prompt": "x"}, "steps": 4}
    return NewJob(id=job_id, **(given | fields))  # type: ignore[arg-type]


def insert(store: RedisStore, job_id: str, **fields: object) -> Job:
    (job,) = store.insert([new_job(job_id, **fields)], NOW)
    assert isinstance(job, Job), job
    return job


def lease(job: Job) -> Lease:
    return Lease(job.id, job.fence)


def picture(job: Job) -> Artifact:
    return Artifact(f"{job.id}-0", "t", f"outputs/{job.id}/0.png", "image/png", 10, NOW, job.id)


def check_keys_agree(server: Server) -> int:
    """Each job is in the indexes of its state and in no others; returns how many jobs there are."""
    with server.client() as client:
        ids = [key.removeprefix("darkroom:job:") for key in client.scan_iter("darkroom:job:*", 1000)]
        jobs = {job_id: client.hgetall(f"darkroom:job:{job_id}") for job_id in ids}

        def of(*states: str) -> set[str]:
            return {job_id for job_id, job in jobs.items() if job["state"] in states}

        def members(key: str) -> set[str]:
            return set(client.zrange(f"darkroom:{key}", 0, -1))

        def born(*states: str) -> set[str]:
            return {jobs[job_id]["born"] for job_id in of(*states)}

        states = {"scheduled", "queued", "running", "succeeded", "failed", "cancelled"}
        assert members("jobs") == born(*states)
        assert members("queue") == of("queued")
        assert members("order") == {jobs[job_id]["place"] for job_id in of("queued")}
        assert members("scheduled") == of("scheduled")
        assert members("running") == of("running")
        assert members("finished") == of("succeeded", "failed", "cancelled")
        for state in states:
            assert members(f"jobs:state:{state}") == born(state)
        for tenant in {job["tenant"] for job in jobs.values()}:
            mine = {job["born"] for job in jobs.values() if job["tenant"] == tenant}
            assert members(f"jobs:tenant:{tenant}") == mine
            queued = {job_id for job_id in of("queued") if jobs[job_id]["tenant"] == tenant}
            assert {member[48:] for member in members(f"line:{tenant}")} == queued
        due = {job_id for job_id in of("queued", "scheduled") if "deadline_at" in jobs[job_id]}
        assert members("deadlines") == due
        models = {job["model"] for job in jobs.values()}
        for model in models:
            mine = {job_id for job_id in of("queued") if jobs[job_id]["model"] == model}
            assert members(f"queue:{model}") == {jobs[job_id]["place"] for job_id in mine}
            assert members(f"since:{model}") == mine
            assert int(client.hget("darkroom:models", model) or 0) == len(mine)
        ahead = sum(int(jobs[job_id]["cost_us"]) for job_id in of("queued"))
        assert int(client.get("darkroom:ahead_us") or 0) == ahead
        held = {job_id for key in client.scan_iter("darkroom:held:*", 1000) for job_id in client.smembers(key)}
        assert held == of("running")
        live = {job_id for key in client.scan_iter("darkroom:live:*", 1000) for job_id in client.smembers(key)}
        assert live == {job_id for job_id in of("scheduled", "queued", "running") if "key_id" in jobs[job_id]}
        calls = [client.hgetall(key) for key in client.scan_iter("darkroom:delivery:*", 1000)]
        assert members("due") == {call["id"] for call in calls if call["state"] == "pending"}
        told = [call for key in client.scan_iter("darkroom:deliveries:*", 1000) for call in client.lrange(key, 0, -1)]
        assert sorted(told) == sorted(call["id"] for call in calls)
        assert {call["job_id"] for call in calls} <= set(jobs)
        stored = [json.loads(client.get(key)) for key in client.scan_iter("darkroom:artifact:*", 1000)]
        assert int(client.get("darkroom:bytes") or 0) == sum(artifact["size"] for artifact in stored)
    return len(jobs)

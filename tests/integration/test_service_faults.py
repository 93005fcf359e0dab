"""One running service meets a full disk, storage that is away, clocks that jump, and clients that vanish.

Each time: what is asked meanwhile gets a named error or is tried again, and what was accepted ends once.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from .gateway_site import picture
from .service import FINAL, QUICK, Service, kinds_of, served, wait_until

pytestmark = pytest.mark.slow

SETTINGS = "[serve]\nlease_s = 3.0\nheartbeat_s = 0.5\nmax_attempts = 50\nretry_s = 0.2\ndrain_s = 1.0\n"
# Every process of the service reads the clock through this: Python runs it at its start.
SHIFTED = """
import os, time
real = time.time

def shifted():
    try:
        with open(os.environ["SHIFT_FILE"]) as file:
            return real() + float(file.read() or 0)
    except FileNotFoundError:
        return real()

time.time = shifted
"""
STEPS = 40  # long enough to be met in the middle
HOUR_S = 3600.0


class Faulty:
    """A service and what can be done to it."""

    def __init__(self, service: Service, shift: Path) -> None:
        self.service, self._shift, self._count = service, shift, 0

    def submit(self, **inputs: Any) -> str:
        self._count += 1
        return self.service.submit(f"fault-{self._count}", seed=self._count, **inputs)

    def submit_running(self) -> str:
        """A job that is in the middle of its steps."""
        job_id = self.submit(num_inference_steps=STEPS)
        wait_until(lambda: self.service.job(job_id)["step"] > 0)
        assert self.service.job(job_id)["state"] == "running"
        return job_id

    def refused(self, method: str, path: str, **what: Any) -> str:
        """The code of a refusal that says when to come back."""
        answer = self.service.ask(method, path, is_patient=False, **what)
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        return str(answer.json()["error"]["code"])

    def check_succeeds_once(self, *ids: str) -> None:
        for job in self.service.wait_all(list(ids)):
            assert (job["state"], len(job["outputs"])) == ("succeeded", 1), job
            assert [kind for kind in kinds_of(self.service, job["id"]) if kind in FINAL] == ["succeeded"]
            artifact = self.service.ask("GET", f"/artifacts/{job['outputs'][0]['artifact_id']}")
            assert (artifact.status_code, artifact.headers["content-type"]) == (200, "image/png")

    def pids(self) -> set[int]:
        return {child.pid for kind in ("gateway", "worker") for child in self.service.processes(kind)}

    def shift_clock(self, by_s: float) -> None:
        """From now on all clocks of the service are ahead by that much."""
        fresh = self._shift.with_suffix(".new")
        fresh.write_text(str(by_s))
        fresh.replace(self._shift)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No process of the service can make a file longer than a byte."""
        if not hasattr(psutil, "RLIMIT_FSIZE"):
            pytest.skip("the file-size limit of another process can be set on Linux alone")
        children = [child for kind in ("gateway", "worker") for child in self.service.processes(kind)]
        before = [child.rlimit(psutil.RLIMIT_FSIZE) for child in children]
        for child, (_, hard) in zip(children, before, strict=True):
            child.rlimit(psutil.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            for child, limit in zip(children, before, strict=True):
                child.rlimit(psutil.RLIMIT_FSIZE, limit)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    home, place = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("clock")
    (home / "darkroom.toml").write_text(SETTINGS)
    (place / "sitecustomize.py").write_text(SHIFTED)
    shift = place / "shift"
    with served(home, PYTHONPATH=str(place), SHIFT_FILE=str(shift)) as service:
        yield Faulty(service, shift)


def test_a_full_disk_refuses_what_is_new_and_keeps_what_was_accepted(faulty: Faulty) -> None:
    before = faulty.pids()
    job_id = faulty.submit_running()
    new = {"json": {"input": QUICK}, "headers": {"Idempotency-Key": "while-full"}}
    with faulty.full_disk():
        assert faulty.refused("POST", "/jobs", **new) == "store_unavailable"
        assert faulty.refused("POST", "/uploads", content=picture()) == "storage_unavailable"
        time.sleep(4.0)  # past the lease: the worker cannot say that it lives, nobody can take the job from it
        assert faulty.service.job(job_id)["state"] == "running"
    accepted = faulty.service.ask("POST", "/jobs", **new)
    assert accepted.status_code == 202
    assert "idempotency-replayed" not in accepted.headers  # what was refused has left nothing
    faulty.check_succeeds_once(job_id, accepted.json()["id"])
    assert faulty.pids() == before


def test_storage_that_is_away_is_waited_for(faulty: Faulty) -> None:
    before = faulty.pids()
    earlier = faulty.submit()
    [done] = faulty.service.wait_all([earlier])
    folder = faulty.service.home / "artifacts"
    away = folder.with_name("away")
    job_id = faulty.submit_running()
    folder.rename(away)
    folder.write_text("not a folder")
    try:
        assert faulty.refused("POST", "/uploads", content=picture()) == "storage_unavailable"
        assert faulty.refused("GET", f"/artifacts/{done['outputs'][0]['artifact_id']}") == "storage_unavailable"
        wait_until(lambda: faulty.service.job(job_id)["errors"] != [])
        assert faulty.service.job(job_id)["state"] in ("scheduled", "queued", "running")
    finally:
        folder.unlink()
        away.rename(folder)
    faulty.check_succeeds_once(earlier, job_id)
    assert {error["code"] for error in faulty.service.job(job_id)["errors"]} == {"storage_unavailable"}
    assert faulty.pids() == before


def vanish(connection: socket.socket) -> None:
    """Gone without a word: the peer gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def connect(service: Service, head: str, *, until: bytes = b"") -> socket.socket:
    """A connection that has sent this much, and has read until these bytes came."""
    connection = socket.create_connection(("127.0.0.1", int(service.port)), 60)
    connection.sendall(head.replace("\n", "\r\n").encode())
    read = b""
    while until not in read:
        part = connection.recv(65536)
        assert part, read
        read += part
    return connection


def test_clients_that_vanish_in_the_middle_leave_nothing_behind(faulty: Faulty) -> None:
    service, before = faulty.service, faulty.pids()
    [gateway] = service.processes("gateway")
    job_id = faulty.submit_running()
    open_files = gateway.num_fds()
    host = f"Host: 127.0.0.1:{service.port}"
    stream = f"GET /v1/jobs/{job_id}/events HTTP/1.1\n{host}\nAccept: text/event-stream\n\n"
    upgrade = (
        "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: " + "A" * 22 + "=="
    )
    socket_head = f"GET /v1/jobs/{job_id}/ws HTTP/1.1\n{host}\n{upgrade}\n\n"
    upload = f"POST /v1/uploads HTTP/1.1\n{host}\nContent-Type: image/png\nContent-Length: 100000\n\nhalf of it"
    waiting = f"GET /v1/jobs/{job_id}/events HTTP/1.1\n{host}\n"  # not even a whole head
    for _ in range(8):
        for head, until in ((stream, b"event: started"), (socket_head, b"started"), (upload, b""), (waiting, b"")):
            vanish(connect(service, head, until=until))
    assert service.ask("GET", "/healthz", root=True, is_patient=False).status_code == 200
    faulty.check_succeeds_once(job_id)
    wait_until(lambda: gateway.num_fds() <= open_files + 2)
    assert faulty.pids() == before


def test_clocks_that_jump_lose_no_job_and_end_none_twice(faulty: Faulty) -> None:
    """An hour ahead, past every lease, and then an hour behind what it was; each with a job in its steps."""
    before = faulty.pids()
    ids = []
    for shift_s in (HOUR_S, -HOUR_S, 0.0):
        ids += [faulty.submit_running(), faulty.submit()]
        faulty.shift_clock(shift_s)
        ids.append(faulty.submit())
        said = datetime.fromisoformat(faulty.service.job(ids[-1])["created_at"]).timestamp()
        assert abs(said - time.time() - shift_s) < HOUR_S / 2  # it has jumped
    faulty.check_succeeds_once(*ids)
    assert faulty.pids() == before

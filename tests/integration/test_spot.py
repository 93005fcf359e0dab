"""Spot machines: one is taken away with a notice, one is killed without; no job is lost, and every byte is as ever."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.metadata_server import Metadata, metadata_server

from .service import Service, check_each_ended_once, served, wait_until

pytestmark = [pytest.mark.slow]

JOBS, STEPS = 6, 60  # seconds of work: notices are asked for once in a while
SERVE = """[serve]
lease_s = 3.0
heartbeat_s = 0.5
tape_every = 1
drain_s = 1.0
claim_ahead_s = 4.0
"""
TAKEN = "the machine is taken away"
SPOT = '{serve}spot_notices = "aws"\nspot_notice_url = "{url}"\n'


@contextlib.contextmanager
def spot_worker(home: Path, metadata: Metadata) -> Iterator[subprocess.Popen[bytes]]:
    """A second worker over the service's store and storage, on a machine that may be taken away."""
    (home / "spot.toml").write_text(SPOT.format(serve=SERVE, url=metadata.url))
    environment = {**os.environ, "DARKROOM_HOME": str(home), "OMP_WAIT_POLICY": "PASSIVE"}
    words = [sys.executable, "-m", "darkroom", "worker", "--config", str(home / "spot.toml"), "--id", "spot"]
    with (home / "spot.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def submit_all(service: Service, when: str) -> list[str]:
    return [
        service.submit(f"{when}-{k}", seed=k, num_inference_steps=STEPS + k, reproducible=True) for k in range(JOBS)
    ]


def pictures_of(service: Service, jobs: list[dict[str, Any]]) -> list[bytes]:
    return [service.ask("GET", f"/artifacts/{job['outputs'][0]['artifact_id']}").content for job in jobs]


def under_way(service: Service, worker: str) -> list[str]:
    """Jobs that have come some way there."""
    jobs = service.ask("GET", "/jobs", params={"limit": 50, "state": "running"}).json()["data"]
    return [job["id"] for job in jobs if job["worker"] == worker and job["step"] >= 3]


def house_worker(service: Service) -> str:
    """The id of the worker that the service started itself."""
    found = [each for each in service.ask("GET", "/workers").json()["data"] if each["id"] != "spot"]
    return next((each["id"] for each in found if each["state"] == "ready"), "")


def events_of(service: Service, job_id: str) -> list[dict[str, Any]]:
    answer = service.ask("GET", f"/jobs/{job_id}/events")
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]


def lost_steps(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """By the reason that a job went back: how many steps that were told were taken once more."""
    lost, told, reason = dict[str, list[int]](), 0, None
    for event in events:
        if event["type"] == "requeued":
            reason = event["reason"]
        if event["type"] == "progress":
            if reason is not None:
                lost.setdefault(reason, []).append(max(0, told + 1 - event["step"]))
                reason = None
            told = max(told, event["step"])
    return lost


def test_a_notice_and_a_death_lose_no_job_and_the_notice_at_most_a_step(tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text(SERVE)
    with served(tmp_path) as service, metadata_server() as metadata:
        calm = submit_all(service, "calm")
        undisturbed = pictures_of(service, service.wait_all(calm))
        with spot_worker(tmp_path, metadata) as spot:
            wait_until(lambda: "spot" in [each["id"] for each in ready(service)])
            ids = submit_all(service, "stormy")
            wait_until(lambda: bool(under_way(service, "spot")) and bool(under_way(service, house_worker(service))))
            metadata.is_taken = True
            assert spot.wait(60) == 0  # it drained, as a worker does that is asked to
            wait_until(lambda: any(TAKEN in lost_steps(events_of(service, job_id)) for job_id in ids))
            ids += submit_all(service, "late")  # or all might be done by now
            wait_until(lambda: bool(under_way(service, house_worker(service))))
            service.kill("worker")
            jobs = service.wait_all(ids)
        lost = [lost_steps(events_of(service, job_id)) for job_id in ids]
        check_each_ended_once(service, [*calm, *ids], [*service.wait_all(calm), *jobs], every=1)
        assert pictures_of(service, jobs) == undisturbed * 2
    reasons = {reason for each in lost for reason in each}
    assert TAKEN in reasons
    assert len(reasons) == 2, reasons
    noticed = [count for each in lost for count in each.get(TAKEN, [])]
    assert max(noticed) <= 1, lost  # what a kill takes hangs on how fast tapes are stored: test_tape_kills.py


def ready(service: Service) -> list[dict[str, Any]]:
    return [each for each in service.ask("GET", "/workers").json()["data"] if each["state"] == "ready"]

"""Whatever is killed, every accepted job ends once: real processes, real stores, real pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .redis_server import RedisServer
from .service import Service, check_each_ended_once, served, wait_until

pytestmark = [pytest.mark.slow]

BATTERED = 200
LEASES = "[serve]\nlease_s = 3.0\nheartbeat_s = 0.5\nmax_attempts = 50\nmax_queued = 2000\ndrain_s = 1.0\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "darkroom.toml").write_text(LEASES)
    return tmp_path


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


def submit_many(service: Service, count: int, steps: int = 1) -> list[str]:
    """So many jobs from eight clients at once, each repeated until it is accepted."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda k: service.submit(f"key-{k}", seed=k, num_inference_steps=steps), range(count)))


def batter(service: Service, ids: list[str]) -> None:
    """Kill the worker mid-step twice, then the gateway, then the supervisor; start again what was started by hand."""
    wait_until(lambda: any(service.job(job_id)["state"] == "succeeded" for job_id in ids))
    service.kill("worker")
    time.sleep(1.0)
    service.kill("gateway")
    wait_until(lambda: len(service.processes("worker")) == 1)
    done = sum(service.job(job_id)["state"] == "succeeded" for job_id in ids)
    wait_until(lambda: sum(service.job(job_id)["state"] == "succeeded" for job_id in ids) > done)
    service.kill("worker")
    port = service.port
    service.process.kill()
    service.process.wait()
    service.start(port)


def test_a_battered_box_ends_every_job_once(home: Path) -> None:
    with served(home) as service, ThreadPoolExecutor(1) as background:
        submitting = background.submit(submit_many, service, BATTERED)
        wait_until(lambda: service.ask("GET", "/jobs", params={"limit": 1}).json()["data"] != [])
        service.kill("gateway")  # in the middle of submissions
        ids = submitting.result()
        batter(service, ids)
        check_each_ended_once(service, ids, service.wait_all(ids), every=1)


def test_a_killed_redis_loses_no_accepted_job(home: Path, redis: RedisServer) -> None:
    with served(home, DARKROOM_STORE=redis.url) as service:
        ids = submit_many(service, BATTERED)
        wait_until(lambda: any(service.job(job_id)["state"] == "succeeded" for job_id in ids))
        for pause_s in (0.2, 4.0):  # the second lasts past the leases
            redis.kill()
            time.sleep(pause_s)
            redis.start()
        batter(service, ids)
        check_each_ended_once(service, ids, service.wait_all(ids), every=1)


def test_ctrl_c_hands_back_what_did_not_fit_and_the_next_start_ends_it(home: Path) -> None:
    with served(home) as service:
        ids = submit_many(service, 12, steps=30)
        wait_until(lambda: any(service.job(job_id)["state"] == "running" for job_id in ids))
        assert service.stop() == 0
        assert service.processes("worker") == []
        service.start()
        jobs = service.wait_all(ids)
        assert {job["state"] for job in jobs} == {"succeeded"}
        assert {job["attempt"] for job in jobs} == {1}  # handed back: not charged

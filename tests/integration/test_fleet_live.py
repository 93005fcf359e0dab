"""A fleet at zero: a job is accepted with nobody there, wakes it, is done, and the worker leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from .service import Service, served, wait_until

SETTINGS = """
[serve]
drain_s = 5
heartbeat_s = 1
[fleet]
look_s = 0.5
idle_s = 2
[fleet.pools.warm]
max_workers = 2
ready_s = 120
price_per_hour_usd = 0.36
is_spot = true
"""


def pool_of(service: Service) -> dict[str, Any]:
    """The pool as the API tells of it now: each window of its own is a fresh look."""
    pool_of.window += 1  # type: ignore[attr-defined]
    [pool] = service.ask("GET", f"/fleet?window_s={pool_of.window}").json()["pools"]  # type: ignore[attr-defined]
    found: dict[str, Any] = pool
    return found


pool_of.window = 60  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_job_wakes_a_fleet_of_none_and_the_worker_leaves_when_idle(tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text(SETTINGS, encoding="utf-8")
    with served(tmp_path, OMP_NUM_THREADS="1") as service:
        assert "warm 0 to 2" in "".join(service.said)
        assert service.ask("GET", "/workers").json()["data"] == []
        job_id = service.submit("first")
        job = service.job(job_id)
        assert (job["state"], job["started_at"]) == ("queued", None)
        assert 0 < job["eta_s"] < 240
        wait_until(lambda: pool_of(service)["starting"] == 1)
        assert 0 <= pool_of(service)["next_ready_s"] <= 240
        wait_until(lambda: len(service.ask("GET", "/workers").json()["data"]) > 0)
        [done] = service.wait_all([job_id])
        assert (done["state"], done["worker"].split("-")[0]) == ("succeeded", "warm")
        assert done["metrics"]["cost_usd"] == pytest.approx(done["metrics"]["device_s"] * 0.36 / 3600)
        there = service.ask("GET", "/workers").json()["data"]
        [worker] = [each for each in there if each["id"] == done["worker"]]
        facts = {name: worker["facts"][name] for name in ("pool", "price_per_hour_usd", "is_spot")}
        assert facts == {"pool": "warm", "price_per_hour_usd": 0.36, "is_spot": True}
        wait_until(lambda: not psutil.pid_exists(worker["facts"]["pid"]))
        wait_until(lambda: pool_of(service)["workers"] == [])
        assert service.ask("GET", "/readyz", root=True).json()["status"] == "ready"
        plans = [json.loads(line) for line in service.said if '"fleet_planned"' in line]
        workers = [plan["workers"] for plan in plans]
        assert (workers[:2], workers[-1]) == ([0, 1], 0)
        assert all(plan["reasons"] for plan in plans)
        assert service.stop() == 0

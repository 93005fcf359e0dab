"""The Ray driver on a real cluster of three raylets: a head without room, and two nodes with one CPU each."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from darkroom.config import FleetSettings, PoolSettings
from darkroom.core import JobState
from darkroom.errors import DriverUnavailable
from darkroom.fleet.drivers.ray import PROGRAM, RayDriver, namespace_of, resources_of
from darkroom.fleet.nouns import Phase, Pool
from darkroom.jobs.store import Claimant
from tests.contract.cluster_kinds import LIGHT_WORKER, ray_missing
from tests.contract.driver_kinds import wait_until

from .ray_cluster import RayCluster, on_loopback, ray_cluster
from .workers import Place, place

POOL = Pool("p", max_workers=8)


def test_a_worker_takes_what_its_pool_says_or_its_device_needs() -> None:
    assert resources_of(POOL, {}) == {"CPU": 1}
    assert resources_of(Pool("g", device="L4"), {}) == {"CPU": 1, "GPU": 1}
    assert resources_of(Pool("g", device="L4"), {"GPU": 0.5, "spot": 1}) == {"GPU": 0.5, "spot": 1}


def test_a_fleet_is_those_who_share_a_store_whatever_their_password() -> None:
    one, two = namespace_of("redis://:secret@host:6379/0"), namespace_of("redis://:another@host:6379/0")
    assert one == two != namespace_of("redis://host:6379/1")


def test_without_the_package_it_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with place(tmp_path) as at, pytest.raises(DriverUnavailable, match=r"pip install 'darkroom-server\[ray\]'"):
        driver_at(at, "127.0.0.1:6379")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    ray_missing()
    with on_loopback(), ray_cluster(tmp_path_factory.mktemp("ray") / "log") as made:
        made.add("a", cpus=1)
        made.add("b", cpus=1)
        yield made


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("place")) as made:
        yield made


def driver_at(at: Place, address: str, program: tuple[str, ...] = PROGRAM) -> RayDriver:
    """A driver of one pool."""
    fleet = FleetSettings(driver="ray", ray_address=address, pools={"p": PoolSettings(max_workers=8)})
    serve = at.settings.serve.model_copy(update={"heartbeat_s": 0.5})
    return RayDriver(at.settings.model_copy(update={"fleet": fleet, "serve": serve}), at.store, program=program)


def phases(driver: RayDriver) -> list[Phase]:
    """Of all members."""
    return sorted(each.phase for each in driver.members())


def names(driver: RayDriver) -> set[str]:
    """Of all members."""
    return {each.name for each in driver.members()}


def held_by(at: Place, worker: str) -> str:
    """A job that the worker has claimed, under a lease that does not end while anybody waits for it."""
    job_id = at.submit()
    [claimed] = at.store.claim(Claimant(worker, (at.job(job_id).model,)), 1, time.time() + 3600)
    return claimed.id


@pytest.mark.slow
def test_workers_spread_over_nodes_leave_with_a_dead_one_and_their_jobs_come_back_before_leases_end(
    at: Place, cluster: RayCluster
) -> None:
    program = ("-c", LIGHT_WORKER, str(at.folder / "hold"))
    with contextlib.closing(driver_at(at, cluster.address, program)) as driver:
        driver.scale(POOL, 2)
        wait_until(lambda: phases(driver) == [Phase.READY] * 2, "both nodes have a worker")
        before = names(driver)
        cluster.kill("b")
        wait_until(lambda: phases(driver) == [Phase.READY], "the dead node's worker is a member no longer")
        (left,) = names(driver)
        pids = {report.id: int(report.facts["pid"]) for report in at.store.workers(0.0)}
        (lost,) = before - {left}
        wait_until(lambda: not psutil.pid_exists(pids[lost]), "its program drained by itself")
        assert psutil.pid_exists(pids[left])
        driver.scale(POOL, 2)
        assert phases(driver) == [Phase.READY, Phase.STARTING]  # it waits for a node
        job = held_by(at, left)
        os.kill(pids[left], signal.SIGKILL)
        wait_until(lambda: left not in names(driver) and at.job(job).state == JobState.QUEUED, "its job came back")
        assert [error["code"] for error in at.job(job).errors] == ["worker_died"]
        at.store.cancel(job, time.time())
        driver.scale(POOL, 0)
        wait_until(lambda: not driver.members(), "all are gone")


@pytest.mark.slow
def test_a_real_worker_works_and_outlives_its_driver(at: Place, cluster: RayCluster) -> None:
    job = at.submit()
    with contextlib.closing(driver_at(at, cluster.address)) as driver:
        driver.scale(POOL, 1)
        (asked,) = driver.members()
    with contextlib.closing(driver_at(at, cluster.address)) as driver:
        assert [(each.name, each.since) for each in driver.members()] == [(asked.name, asked.since)]
        (done,) = at.wait(job)
        assert (done.state, done.worker) == (JobState.SUCCEEDED, asked.name)
        (report,) = [each for each in at.store.workers(0.0) if each.id == asked.name]
        assert report.facts["pool"] == "p"
        driver.scale(POOL, 0)
        wait_until(lambda: not driver.members(), "it drained")
        cluster.stop()
        with pytest.raises(DriverUnavailable, match="Ray cluster"):
            driver.members()
        with pytest.raises(DriverUnavailable, match="no Ray cluster answers"):
            driver.members()

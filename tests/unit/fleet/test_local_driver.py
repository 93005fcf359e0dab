"""Workers forked on this machine: what the local driver promises beyond what every driver does."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from darkroom.core import JobState, NewJob, WorkerReport
from darkroom.errors import DriverUnavailable, InvariantBroken
from darkroom.fleet.devices import CUDA_DEVICES, WORKERS_HERE, WORKERS_ON_DEVICE
from darkroom.fleet.drivers import local
from darkroom.fleet.drivers.local import LocalDriver
from darkroom.fleet.forkserver import serve_forks
from darkroom.fleet.nouns import Phase, Pool
from darkroom.jobs.store import Claimant
from tests.contract.driver_kinds import LocalStage, Place, place, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are forked on POSIX alone")
POOL = Pool("own", max_workers=8, price_per_hour_usd=0.5, environment={"COLOUR": "green"})
DRIVER_ALONE = """
import sys, time
from pathlib import Path
from darkroom.fleet.drivers.local import LocalDriver
from darkroom.fleet.nouns import Pool
from tests.contract.driver_kinds import place
with place(Path(sys.argv[1]), "local") as at:
    driver = LocalDriver(at.settings, at.store, fork_server=sys.argv[2:])
    driver.scale(Pool("own"), 1)
    while True:
        driver.members()
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("local"), "local") as made:
        yield made


@pytest.fixture
def driver(at: Place) -> Iterator[LocalDriver]:
    with ExitStack() as stack:
        stack.callback(at.hold.unlink, missing_ok=True)
        driver = LocalStage(at, stack).open()
        assert isinstance(driver, LocalDriver)
        yield driver
        at.hold.unlink(missing_ok=True)


def ready(driver: LocalDriver, workers: int) -> list[str]:
    """Scale to so many; their names, once all are ready."""
    driver.scale(POOL, workers)
    wait_until(lambda: [member.phase for member in driver.members()] == [Phase.READY] * workers, "all are ready")
    return [member.name for member in driver.members()]


def told(at: Place, name: str) -> WorkerReport:
    """What a worker said of itself."""
    (report,) = [report for report in at.store.workers(0.0) if report.id == name]
    return report


def test_a_worker_has_a_session_and_an_environment_of_its_own(
    at: Place, driver: LocalDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: one'\necho 'GPU 1: two'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(CUDA_DEVICES, raising=False)
    facts = [told(at, name).facts for name in ready(driver, 3)]
    assert [each["session"] for each in facts] == [each["pid"] for each in facts]
    environments = [each["environment"] for each in facts]
    assert {each["DARKROOM_POOL"] for each in environments} == {"own"}
    assert {each["DARKROOM_PRICE_PER_HOUR_USD"] for each in environments} == {"0.5"}
    assert {each["COLOUR"] for each in environments} == {"green"}
    assert sorted(each[CUDA_DEVICES] for each in environments) == ["0", "0", "1"]
    assert CUDA_DEVICES not in os.environ
    here = {each[WORKERS_HERE] for each in environments}
    assert len(here) == 1
    assert {each[WORKERS_ON_DEVICE] for each in environments} == {str(-(-int(here.pop()) // 2))}


def test_what_a_dead_worker_held_is_released_at_once(at: Place, driver: LocalDriver) -> None:
    (name,) = ready(driver, 1)
    at.store.insert([NewJob("job-1", "t", "m", "text-to-image", {})], time.time())
    at.store.claim(Claimant(name, ("m",), ("m",)), 1, time.time())
    os.kill(int(told(at, name).facts["pid"]), signal.SIGKILL)
    wait_until(lambda: not driver.members(), "its death is noticed")
    job = at.store.get("job-1")
    assert job is not None
    assert (job.state, job.errors[0]["code"]) == (JobState.QUEUED, "worker_died")


def test_one_that_does_not_end_in_time_is_killed(
    at: Place, driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_stop_s", 0.3)
    (name,) = ready(driver, 1)
    process = psutil.Process(int(told(at, name).facts["pid"]))
    at.hold.touch()
    driver.scale(POOL, 0)
    wait_until(lambda: not driver.members(), "it is killed")
    assert at.hold.exists()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_one_that_an_operator_drains_is_leaving_and_gets_a_successor(at: Place, driver: LocalDriver) -> None:
    (name,) = ready(driver, 1)
    at.hold.touch()
    os.kill(int(told(at, name).facts["pid"]), signal.SIGTERM)
    wait_until(lambda: [member.phase for member in driver.members()] == [Phase.LEAVING], "it is seen to leave")
    driver.scale(POOL, 1)
    assert sorted(member.phase for member in driver.members()) == [Phase.LEAVING, Phase.STARTING]


def test_workers_outlive_their_fork_server_and_a_new_one_is_started(at: Place, driver: LocalDriver) -> None:
    names = ready(driver, 2)
    os.kill(driver._servers[POOL.name]._process.pid, signal.SIGKILL)
    with pytest.raises(DriverUnavailable, match="killed by SIGKILL"):
        wait_until(lambda: not driver.members(), "it is told")
    assert [member.name for member in driver.members()] == names
    wait_until(lambda: is_up_again(driver), "another is tried")
    assert set(names) < set(ready(driver, 3))


def is_up_again(driver: LocalDriver) -> bool:
    """Whether a fork-server may be started; the driver waits a little between two that fail."""
    try:
        driver.scale(POOL, 3)
    except DriverUnavailable:
        return False
    return True


def test_a_fork_server_that_ends_at_once_is_tried_less_and_less_often(at: Place) -> None:
    driver = LocalDriver(at.settings, at.store, fork_server=(sys.executable, "-c", "raise SystemExit(7)"))
    pauses = []
    for _ in range(3):
        wait_until(lambda: POOL.name not in driver._faults or may_retry(driver), "the pause is over")
        with pytest.raises(DriverUnavailable, match="exit code 7"):
            ask_in_vain(driver)
        pauses.append(driver._faults[POOL.name].retry_at - time.monotonic())
        with pytest.raises(DriverUnavailable, match="exit code 7"):
            driver.scale(POOL, 1)
        assert not driver._servers
    driver.close()
    assert pauses == sorted(pauses)


def ask_in_vain(driver: LocalDriver) -> None:
    driver.scale(POOL, 1)
    wait_until(lambda: not driver.members(), "it is told")


def may_retry(driver: LocalDriver) -> bool:
    return time.monotonic() >= driver._faults[POOL.name].retry_at


def test_workers_end_with_a_driver_that_was_killed(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.contract.light_worker", str(tmp_path / "hold")]
    with place(tmp_path, "local") as at:
        alone = subprocess.Popen([sys.executable, "-c", DRIVER_ALONE, str(tmp_path), *program])
        wait_until(lambda: bool(at.store.workers(0.0)), "its worker is ready")
        (report,) = at.store.workers(0.0)
        worker = psutil.Process(int(report.facts["pid"]))
        alone.kill()
        alone.wait()
        gone = lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE  # noqa: E731
        wait_until(gone, "the worker has ended")


def test_a_process_with_threads_is_not_forked() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="busy")
    thread.start()
    one, other = socket.socketpair()
    with closing(one), closing(other), pytest.raises(InvariantBroken, match="busy"):
        serve_forks(one.fileno())
    over.set()
    thread.join()


def test_those_named_leave_first_then_those_that_start_then_the_youngest() -> None:
    def made(name: str, since: float, phase: Phase = Phase.READY) -> local.Process:
        return local.Process(name, "p", since, None, phase)

    staying = [made("old", 1.0), made("young", 2.0), made("starting", 0.0, Phase.STARTING), made("named", 0.0)]
    assert [each.name for each in local.by_leaving(staying, ["named"])] == ["named", "starting", "young", "old"]

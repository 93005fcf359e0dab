"""Real workers, real jobs: what these took, with idle time and the rest, is the time that the workers were there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from darkroom.core import Charge, Job, WorkerTime
from darkroom.fleet.cost import By, told

from .workers import Place, launched, place

pytestmark = pytest.mark.slow

PRICE = 3.6  # dollars an hour: a tenth of a cent a second
SHARE = 0.01  # how far off sums may be
TENANTS = ("owl", "fox")


@dataclass(frozen=True)
class Seen:
    """What a process left behind, and how long it was there by the system's clock."""

    jobs: list[Job]
    times: list[WorkerTime]
    charges: list[Charge]
    measured_s: float

    def row(self, by: By = By.POOL) -> Mapping[str, Any]:
        """The total, and the rows by name."""
        said = told(self.times, self.charges, by, str)
        return {row["name"]: row for row in (*said["rows"], said["total"])}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Jobs that share batches, and then none for a while."""
    with pytest.MonkeyPatch.context() as patch, place(tmp_path_factory.mktemp("costs"), "heartbeat_s = 1") as at:
        patch.setenv("DARKROOM_POOL", "spot")
        patch.setenv("DARKROOM_PRICE_PER_HOUR_USD", str(PRICE))
        with launched(at, "w1") as process:
            began_at = psutil.Process(process.popen.pid).create_time()
            jobs = at.wait(*at.submit_all([wish(number) for number in range(6)]))
            time.sleep(2.0)
            assert process.terminate() == 0
        yield Seen(jobs, at.store.worker_times(0), at.store.charges(0), last_heard(at) - began_at)


def wish(number: int) -> Mapping[str, Any]:
    return {"tenant": TENANTS[number % 2], "num_inference_steps": 4 + number, "seed": number}


def last_heard(at: Place) -> float:
    [report] = at.store.workers(0.0)
    assert report.state == "stopped"
    return report.at


def parts(row: Mapping[str, Any]) -> dict[str, float]:
    return {part["part"]: part["seconds"] for part in row["parts"]}


def test_the_time_of_a_process_is_that_which_it_was_there(seen: Seen) -> None:
    assert len({day.began_at for day in seen.times}) == 1
    assert sum(day.alive_s for day in seen.times) == pytest.approx(seen.measured_s, rel=SHARE)


def test_jobs_and_idle_time_and_the_rest_are_the_workers_time(seen: Seen) -> None:
    total = seen.row()["total"]
    of_jobs = sum(job.metrics["device_s"] for job in seen.jobs)
    spent = parts(total)
    assert spent["jobs"] == pytest.approx(of_jobs, abs=1e-3)
    accounted_s = of_jobs + sum(spent[part] for part in ("between", "load", "start", "idle"))
    assert accounted_s == pytest.approx(seen.measured_s, rel=SHARE)
    assert abs(spent["uncharged"]) < SHARE * total["paid_s"]
    assert min(spent["between"], spent["load"], spent["start"]) > 0
    assert spent["idle"] > 1.9


def test_money_is_time_at_the_pools_price(seen: Seen) -> None:
    spot, total = seen.row()["spot"], seen.row()["total"]
    assert spot["paid_usd"] == pytest.approx(seen.measured_s * PRICE / 3600, rel=SHARE)
    assert spot["parts"] == total["parts"]
    for job in seen.jobs:
        assert job.metrics["cost_usd"] == pytest.approx(job.metrics["device_s"] * PRICE / 3600)


def test_each_tenant_and_model_is_charged_with_its_own_jobs(seen: Seen) -> None:
    rows = seen.row(By.TENANT)
    for tenant in TENANTS:
        those = [job for job in seen.jobs if job.tenant == tenant]
        assert rows[tenant]["jobs"] == rows[tenant]["images"] == len(those) == 3
        assert rows[tenant]["device_s"] == pytest.approx(sum(job.metrics["device_s"] for job in those), abs=1e-3)
    assert seen.row(By.MODEL)["landscapes"]["images"] == len(seen.jobs)

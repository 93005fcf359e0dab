"""What follows from what workers say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import Job, JobState, WorkerReport
from darkroom.fleet.nouns import Member, Phase
from darkroom.fleet.told import FleetNote, Learned, Pace, PoolNote, write_note
from darkroom.gateway.forecast import MAX_RETRY_S, NOMINAL_ROW_S, UNKNOWN_RETRY_S, Forecast, Outlook
from darkroom.gateway.threads import Threads
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits, Queue

NOW = 1_900_000_000.0


def report(name: str = "a", state: str = "ready", step_s: float | None = 0.2, **facts: Any) -> WorkerReport:
    measured = {} if step_s is None else {"sea": step_s}
    return WorkerReport(name, state, NOW, models=("sea",), step_seconds=measured, facts=facts)


def job(state: JobState = JobState.QUEUED, step: int = 0, **said: Any) -> Job:
    values: dict[str, Any] = {
        "id": "job-1", "state": state, "tenant": "t", "model": "sea", "task": "text-to-image", "input": {},
        "output": {}, "metadata": {}, "warnings": (), "priority": 0, "rank": 0.0, "cost_s": 1.0, "steps": 20,
        "step": step, "attempt": 0, "max_attempts": 3, "fence": 0, "worker": None, "is_suspect": False,
        "is_cancelling": False, "lease_until": None, "deadline_at": None, "run_at": None, "webhook": None,
        "idempotency_key": None, "request_id": "", "times": {}, "outputs": (), "metrics": {}, "errors": (),
    }  # fmt: skip
    return Job(**{**values, **said})


def queue(ahead_s: float) -> Queue:
    return Queue(queued=3, running=0, scheduled=0, ahead_s=ahead_s, oldest_at=None, by_model={})


def test_a_queued_job_waits_for_what_is_before_it_on_all_hands_and_then_runs_its_steps() -> None:
    one, two = Outlook((report(),)), Outlook((report("a"), report("b")))
    assert one.eta_s(job(), (3, 12.0), NOW) == pytest.approx(12.0 + 20 * 0.2)
    assert two.eta_s(job(), (3, 12.0), NOW) == pytest.approx(6.0 + 20 * 0.2)


def test_what_a_worker_measured_beside_the_steps_is_added() -> None:
    outlook = Outlook((report(rest_s={"sea": 1.5}),))
    assert outlook.eta_s(job(), (0, 0.0), NOW) == pytest.approx(20 * 0.2 + 1.5)


def test_a_running_job_ends_after_the_steps_it_has_left_at_its_own_workers_pace() -> None:
    outlook = Outlook((report("a", step_s=0.2), report("b", step_s=0.6)))
    assert outlook.eta_s(job(JobState.RUNNING, step=15, worker="b"), None, NOW) == pytest.approx(5 * 0.6)
    assert outlook.eta_s(job(JobState.RUNNING, step=15, worker="gone"), None, NOW) == pytest.approx(5 * 0.4)


def test_a_scheduled_job_waits_for_its_time_first() -> None:
    assert Outlook((report(),)).eta_s(job(JobState.SCHEDULED, run_at=NOW + 60), None, NOW) == pytest.approx(64.0)


@pytest.mark.parametrize(
    "workers",
    [(), (report(step_s=None),), (report(state="starting"),), (report(state="draining"),)],
    ids=["no worker", "nothing measured", "starting", "draining"],
)
def test_nothing_is_predicted_that_nobody_can_know(workers: tuple[WorkerReport, ...]) -> None:
    assert Outlook(workers).eta_s(job(), (0, 0.0), NOW) is None


def test_a_job_that_has_ended_has_nothing_to_wait_for() -> None:
    assert Outlook((report(),)).eta_s(job(JobState.SUCCEEDED), None, NOW) is None


def test_a_rows_share_of_a_step_is_what_it_costs() -> None:
    assert Outlook((report(step_s=0.8, rows={"sea": 8}),)).row_s("sea") == pytest.approx(0.1)
    assert Outlook((report(step_s=0.8, rows={"sea": "many"}),)).row_s("sea") == pytest.approx(0.8)
    assert Outlook(()).row_s("sea") is None


def test_a_row_costs_its_share_of_what_a_request_takes_beside_its_steps() -> None:
    assert Outlook((report(rows={"sea": 8}, rest_s={"sea": 1.6}),)).row_rest_s("sea") == pytest.approx(0.2)
    assert Outlook((report(),)).row_rest_s("sea") == Outlook(()).row_rest_s("sea") == 0.0


def test_a_picture_of_more_pixels_costs_as_much_more(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}", Limits())) as store:
        forecast = Forecast(store, Threads(), lambda: NOW, 60.0)
        assert forecast.cost_s("sea", 10, 2, 4.0) == pytest.approx(4 * 10 * 2 * NOMINAL_ROW_S)
        store.heartbeat(report(rows={"sea": 8}, rest_s={"sea": 1.6}), [], NOW)
        asyncio.run(forecast.now())
    assert forecast.cost_s("sea", 10, 2) == pytest.approx(2 * (10 * 0.2 / 8 + 0.2))
    assert forecast.cost_s("sea", 10, 2, 64.0) == pytest.approx(64 * forecast.cost_s("sea", 10, 2))


def test_who_is_refused_comes_back_when_a_share_of_the_queue_is_gone() -> None:
    assert Outlook((report(),), queue(200.0)).retry_after_s() == 20.0
    assert Outlook((report("a"), report("b")), queue(200.0)).retry_after_s() == 10.0
    assert Outlook((report(),), queue(0.0)).retry_after_s() == 1.0
    assert Outlook((report(),), queue(1e9)).retry_after_s() == MAX_RETRY_S
    assert Outlook((), queue(200.0)).retry_after_s() == UNKNOWN_RETRY_S


def fleet(*pools: PoolNote, at: float = NOW, **paces: Pace) -> FleetNote:
    return FleetNote(at, "local", "darkroom", 5.0, pools, learned=Learned(paces=paces))


def test_without_a_worker_a_job_waits_for_the_one_that_the_fleet_starts() -> None:
    pool = PoolNote("a", ready_s=20.0, wanted=2, decided_at=NOW - 5)
    outlook = Outlook(fleet=fleet(pool, sea=Pace(0.2, 1.5, 1.0)))
    own_s = 20 * 0.2 + 1.5
    assert outlook.eta_s(job(), (3, 12.0), NOW) == pytest.approx(15.0 + 6.0 + own_s)
    assert outlook.eta_s(job(JobState.SCHEDULED, run_at=NOW + 60), None, NOW) == pytest.approx(75.0 + own_s)
    started = replace(pool, members=(Member("a-1", "a", Phase.STARTING, NOW - 18),), wanted=1)
    assert Outlook(fleet=fleet(started)).eta_s(job(cost_s=7.0), None, NOW) == pytest.approx(2.0 + 7.0)
    elsewhere = Outlook((report("b", "draining"),), fleet=fleet(PoolNote("a", models=("land",))))
    assert elsewhere.eta_s(job(), None, NOW) is None


def test_a_job_that_nobody_will_take_says_so() -> None:
    known, pool = queue(0.0), PoolNote("a")
    assert len(Outlook((), known).warnings(job(), NOW)) == 1
    [said] = Outlook((report("a", "draining"),), known, fleet(PoolNote("b", models=("land",)))).warnings(job(), NOW)
    assert said.startswith("no worker takes jobs of sea now")
    assert Outlook((), known, replace(fleet(pool), fault="no_driver: away")).warnings(job(), NOW)
    for hopeful in (
        Outlook((report(),), known),
        Outlook((report("a", "starting"),), known),
        Outlook((), known, fleet(pool)),
    ):
        assert hopeful.warnings(job(), NOW) == ()
    assert Outlook((), known).warnings(job(JobState.RUNNING), NOW) == Outlook().warnings(job(), NOW) == ()


class Counted(tuple[WorkerReport, ...]):
    """Counts how often it is looked through."""

    looks = 0

    def __iter__(self) -> Iterator[WorkerReport]:
        self.looks += 1
        return super().__iter__()


def test_a_list_of_jobs_looks_at_the_workers_once_for_its_warnings_however_long_it_is() -> None:
    workers = Counted([report("a"), report("b", "starting")])
    outlook = Outlook(workers, queue(1.0))
    said = [outlook.warnings(job(model=model), NOW) for model in ("sea", "land", "sky") * 20]
    assert sum(map(len, said)) == 40
    assert workers.looks <= 2


def test_with_a_worker_the_fleet_s_cold_start_is_nobody_s_business() -> None:
    outlook = Outlook((report(),), fleet=fleet(PoolNote("a", ready_s=99.0)))
    assert outlook.eta_s(job(), (3, 12.0), NOW) == pytest.approx(12.0 + 20 * 0.2)


def test_what_workers_measured_that_are_gone_still_counts(tmp_path: Path) -> None:
    async def look() -> None:
        with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}", Limits())) as store:
            store.note_fleet(write_note(fleet(PoolNote("a", ready_s=20.0), sea=Pace(0.4, 2.0, 4.0))))
            threads = Threads()
            forecast = Forecast(store, threads, lambda: NOW + 1, heard_within_s=30)
            assert (await forecast.now()).eta_s(job(), None, NOW) == pytest.approx(20.0 + 20 * 0.4 + 2.0)
            assert forecast.cost_s("sea", 10, 2) == pytest.approx(2 * (10 * 0.1 + 0.5))
            stale = Forecast(store, threads, lambda: NOW + 3600, heard_within_s=30)
            assert (await stale.now()).eta_s(job(), None, NOW) is None
            threads.close()

    asyncio.run(look())

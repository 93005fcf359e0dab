"""Where workers' time went, and what jobs took of it: kept by days, whatever becomes of workers and jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from darkroom.core import Charge, Job, Lease, WorkerTime
from darkroom.jobs import wire
from darkroom.jobs.allowances import COSTS_KEPT_DAYS
from darkroom.jobs.rows import times_of
from darkroom.jobs.store import Store
from tests.contract.making import (
    DAY_S,
    ERROR,
    LEASE_S,
    NOW,
    artifact,
    claim_one,
    insert_one,
    lease,
    report,
    running,
)

TODAY = int(NOW // DAY_S)
SPENT = {"device_s": 3.0, "cost_usd": 0.75, "denoise_s": 1.0}
TIME = {"day": TODAY, "began_at": NOW - 60.25, "alive_s": 60.0, "start_s": 5.0, "load_s": 1.5, "busy_s": 30.0}
PLACE = {"forward_s": 29.0, "price_per_hour_usd": 0.8, "device": "cuda", "pool": "fast"}


def tell(store: Store, *times: dict[str, Any], worker: str = "w", now: float = NOW) -> None:
    """A heartbeat that says where the worker's time went."""
    store.heartbeat(report(worker, now, facts={"times": [*times]}), [], now)


# Workers' time


def test_a_heartbeat_tells_where_the_time_went(store: Store) -> None:
    tell(store, TIME | PLACE)
    assert store.worker_times(TODAY) == [WorkerTime("w", **TIME, **PLACE)]


def test_the_latest_heartbeat_of_a_process_counts_for_each_of_its_days(store: Store) -> None:
    tell(store, TIME)
    tell(store, TIME | {"alive_s": 70.0}, TIME | {"day": TODAY + 1, "alive_s": 4.0})
    assert [(time.day, time.alive_s) for time in store.worker_times(TODAY)] == [(TODAY, 70.0), (TODAY + 1, 4.0)]
    assert [time.day for time in store.worker_times(TODAY + 1)] == [TODAY + 1]


def test_processes_under_one_id_and_workers_that_are_gone_all_count(store: Store) -> None:
    tell(store, TIME)
    store.release_worker("w", "killed", NOW)
    tell(store, TIME | {"began_at": NOW, "alive_s": 1.0})
    tell(store, TIME | {"alive_s": 2.0}, worker="other")
    assert sorted(time.alive_s for time in store.worker_times(TODAY)) == [1.0, 2.0, 60.0]


def test_what_another_release_tells_beside_it_is_passed_over(store: Store) -> None:
    tell(store, {"day": TODAY, "began_at": NOW, "moon_s": 3.0})
    assert store.worker_times(TODAY) == [WorkerTime("w", TODAY, NOW)]


def test_what_a_worker_over_http_tells_is_kept() -> None:
    body = wire.HeartbeatBody(report(facts={"times": [TIME | PLACE]}), ())
    said = wire.HEARTBEAT.body.validate_json(wire.HEARTBEAT.body.dump_json(body))
    assert [*times_of(said.report)] == [WorkerTime("w", **TIME, **PLACE)]


def test_leases_are_extended_beside_it(store: Store) -> None:
    job = running(store)
    said = report(facts={"times": [TIME, TIME | {"day": TODAY + 1}]})
    stale = Lease(job.id, 99)
    assert store.heartbeat(said, [lease(job), stale], NOW + LEASE_S - 1) == [stale]
    assert store.rescue(NOW + LEASE_S + 1) == []


# What jobs took


def complete(store: Store, job: Job) -> None:
    store.complete(lease(job), [artifact(job), artifact(job)], SPENT, NOW)


def fail(store: Store, job: Job) -> None:
    store.fail(lease(job), ERROR, SPENT, NOW, None)


def retry(store: Store, job: Job) -> None:
    store.fail(lease(job), ERROR, SPENT, NOW, NOW + 5)


def release(store: Store, job: Job) -> None:
    store.release([lease(job)], "drain", NOW, {lease(job): SPENT})


def release_unbegun(store: Store, job: Job) -> None:
    store.release([lease(job)], "drain", NOW)


def release_when_marked(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.release([lease(job)], "drain", NOW, {lease(job): SPENT})


def confirm_cancelled(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.confirm_cancelled(lease(job), SPENT, NOW)


def die(store: Store, job: Job) -> None:
    store.release_worker("w", "killed", NOW)


def die_when_marked(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.release_worker("w", "killed", NOW)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (complete, [(1, 2, 3.0, 0.75)]),
        (fail, [(1, 0, 3.0, 0.75)]),
        (retry, [(0, 0, 3.0, 0.75)]),
        (release, [(0, 0, 3.0, 0.75)]),
        (release_unbegun, []),
        (release_when_marked, [(1, 0, 3.0, 0.75)]),
        (confirm_cancelled, [(1, 0, 3.0, 0.75)]),
        (die, []),
        (die_when_marked, [(1, 0, 0.0, 0.0)]),
    ],
)
def test_each_end_of_an_attempt_is_charged_once(store: Store, end: Callable[[Store, Job], None], expected: Any) -> None:
    end(store, running(store))
    assert [(one.jobs, one.images, one.device_s, one.cost_usd) for one in store.charges(TODAY)] == expected


def test_attempts_add_up_by_day_worker_tenant_and_model(store: Store) -> None:
    retry(store, job := running(store))
    store.stage_due(NOW + 5)
    again = claim_one(store, NOW + DAY_S, worker="w2")
    store.complete(lease(again), [artifact(job)], SPENT, NOW + DAY_S)
    for tenant in ("t", "t", "another"):
        complete(store, running(store, tenant=tenant))
    assert store.charges(TODAY) == [
        Charge(TODAY, "w", "another", "m", 1, 2, 3.0, 0.75),
        Charge(TODAY, "w", "t", "m", 2, 4, 9.0, 2.25),
        Charge(TODAY + 1, "w2", "t", "m", 1, 1, 3.0, 0.75),
    ]
    assert [one.day for one in store.charges(TODAY + 1)] == [TODAY + 1]


def test_guests_are_charged_together_however_many_they_are(store: Store) -> None:
    for tenant in ("guest-192.0.2.7-0123456789abcdef", "guest-2001:db8::-fedcba9876543210", "guest-lecture"):
        complete(store, running(store, tenant=tenant))
    assert [(one.tenant, one.jobs, one.images, one.device_s) for one in store.charges(TODAY)] == [
        ("(guests)", 2, 4, 6.0),
        ("guest-lecture", 1, 2, 3.0),
    ]


def test_a_job_that_never_ran_is_charged_to_nobody(store: Store) -> None:
    store.cancel(insert_one(store).id, NOW)
    insert_one(store, deadline_at=NOW + 1)
    store.expire(NOW + 2)
    assert store.charges(TODAY) == []


def test_a_deleted_job_was_still_paid_for(store: Store) -> None:
    complete(store, job := running(store))
    store.delete(job.id)
    assert [one.images for one in store.charges(TODAY)] == [2]


# Going


def test_prune_forgets_old_days_and_no_others(store: Store) -> None:
    complete(store, running(store))
    tell(store, TIME, TIME | {"day": TODAY + 1})
    later = NOW - NOW % DAY_S + COSTS_KEPT_DAYS * DAY_S
    store.prune(0.0, 0.0, later)
    assert (len(store.worker_times(0)), len(store.charges(0))) == (2, 1)
    store.prune(0.0, 0.0, later + DAY_S)
    assert [time.day for time in store.worker_times(0)] == [TODAY + 1]
    assert store.charges(0) == []


def test_another_handle_sees_them(store: Store, another: Callable[[], Store]) -> None:
    complete(store, running(store))
    tell(store, TIME)
    assert another().worker_times(TODAY) == store.worker_times(TODAY) != []
    assert another().charges(TODAY) == store.charges(TODAY) != []

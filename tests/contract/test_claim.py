"""Claims: one job to one worker, in what order, and suspects apart."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from itertools import chain
from multiprocessing.queues import SimpleQueue
from typing import Any

import pytest

from darkroom.core import Job, JobState
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import CLOSE_S, HOLD_S, PATIENCE_S, Claimant, Store
from tests.contract.making import (
    ERROR,
    HIGH,
    LEASE_S,
    LOW,
    NOW,
    claim,
    claim_one,
    claimant,
    fetch,
    ids,
    insert,
    insert_one,
    lease,
    new_job,
    report,
)


def test_claim_marks_the_job_as_running(store: Store) -> None:
    job = insert_one(store)
    claimed = claim_one(store, NOW + 1)
    assert claimed.id == job.id
    assert (claimed.state, claimed.worker, claimed.attempt) == (JobState.RUNNING, "w", 1)
    assert claimed.fence > job.fence
    assert claimed.lease_until == NOW + 1 + LEASE_S
    assert claimed.times == {"created": NOW, "queued": NOW, "started": NOW + 1}
    assert store.get(job.id) == claimed


def test_claim_says_so_in_an_event(store: Store) -> None:
    insert_one(store)
    job = claim_one(store, NOW + 1)
    event = store.events(job.id, 0)[-1]
    assert (event.type, event.at, event.data) == ("started", NOW + 1, {"worker": "w", "attempt": 1})


def test_claim_gives_at_most_what_was_asked_for(store: Store) -> None:
    insert(store, *[new_job() for _ in range(5)])
    assert [len(claim(store, 3)), len(claim(store, 3)), len(claim(store, 3))] == [3, 2, 0]
    assert claim(store, 0) == []


def test_claim_of_nothing_gives_nothing(store: Store) -> None:
    insert_one(store)
    assert claim(store, models=(), loaded=()) == []


def test_claim_gives_no_job_twice(store: Store) -> None:
    insert_one(store)
    claim_one(store)
    assert claim(store, worker="other") == []


def test_claim_gives_only_models_the_worker_can_serve(store: Store) -> None:
    insert_one(store, model="other")
    mine = insert_one(store)
    assert ids(claim(store, 5)) == [mine.id]


def test_jobs_of_one_rank_go_in_the_order_they_came(store: Store) -> None:
    jobs = insert(store, *[new_job(f"t{number}") for number in range(12)])
    assert ids(claim(store, 12)) == ids(jobs)


def test_a_class_goes_before_rank(store: Store) -> None:
    low, mid, high = insert(store, new_job("a", priority=LOW), new_job("b"), new_job("c", priority=HIGH, cost_s=50.0))
    assert ids(claim(store, 5)) == [high.id, mid.id, low.id]


def test_a_class_goes_before_loaded_models(store: Store) -> None:
    loaded, high = insert(store, new_job("a"), new_job("b", model="m2", priority=HIGH))
    assert ids(claim(store, 5, models=("m", "m2"))) == [high.id, loaded.id]


def test_jobs_of_loaded_models_go_before_others(store: Store) -> None:
    other, loaded = insert(store, new_job("a", model="m2", cost_s=0.1), new_job("b", cost_s=5.0))
    assert ids(claim(store, 5, models=("m2", "m"))) == [loaded.id, other.id]


def test_a_job_that_waited_long_goes_by_rank_though_its_model_is_not_loaded(store: Store) -> None:
    other, loaded = insert(store, new_job("a", model="m2", cost_s=0.1), new_job("b", cost_s=5.0))
    order = ids(claim(store, 5, NOW + PATIENCE_S, models=("m2", "m")))
    assert order == [other.id, loaded.id]


def test_just_before_its_patience_ends_a_job_still_waits(store: Store) -> None:
    other, loaded = insert(store, new_job("a", model="m2", cost_s=0.1), new_job("b", cost_s=5.0))
    order = ids(claim(store, 5, NOW + PATIENCE_S - 0.5, models=("m2", "m")))
    assert order == [loaded.id, other.id]


def test_those_of_one_model_that_waited_long_go_before_those_that_did_not(store: Store) -> None:
    waited = insert_one(store, tenant="a", model="m2", cost_s=5.0)
    fresh = insert_one(store, NOW + PATIENCE_S, tenant="b", model="m2", cost_s=0.1)
    order = ids(claim(store, 5, NOW + PATIENCE_S, models=("m2", "m")))
    assert order == [waited.id, fresh.id]


def test_an_expired_job_is_left(store: Store) -> None:
    expired, alive = insert(store, new_job(deadline_at=NOW + 5), new_job(deadline_at=NOW + 7))
    assert ids(claim(store, 5, NOW + 6)) == [alive.id]
    assert fetch(store, expired).state == JobState.QUEUED


def test_the_fence_rises_with_every_claim(store: Store) -> None:
    insert_one(store)
    fences = []
    for _ in range(4):
        job = claim_one(store)
        fences.append(job.fence)
        store.release([lease(job)], "drain", NOW)
    assert fences == sorted(set(fences))


# Who a young job is left to


A, B = ("a" * 64, "a" * 16), ("b" * 64, "b" * 16)  # files of adapters: their digests, and what workers call them
YOUNG, OLD = NOW + HOLD_S - 0.125, NOW + HOLD_S


def hold(store: Store, worker: str, *adapters: str, model: str = "m", at: float = NOW, **fields: Any) -> None:
    """A worker says that it has a model and these adapters in memory."""
    facts = {"adapters": {model: adapters}}
    store.heartbeat(report(worker, at, **({"models": (model,), "loaded": (model,), "facts": facts} | fields)), [], at)


def insert_with(store: Store, *adapters: tuple[str, str], **fields: Any) -> Job:
    """Insert a job with these adapters."""
    names = [f"style-{number}" for number in range(len(adapters))]
    digests = dict(zip(names, [digest for digest, _ in adapters], strict=True))
    given = {"prompt": "x", "adapters": dict.fromkeys(names, 1.0), "adapter_digests": digests}
    return insert_one(store, input=given, **fields)


def test_a_young_job_is_left_to_the_worker_that_has_its_model(store: Store) -> None:
    hold(store, "holder")
    job = insert_one(store)
    assert claim(store, 5, YOUNG, loaded=()) == []
    assert ids(claim(store, 5, YOUNG, worker="holder")) == [job.id]


def test_a_job_is_held_no_longer_than_its_time_though_nobody_takes_it(store: Store) -> None:
    hold(store, "holder")
    job = insert_one(store)
    assert ids(claim(store, 5, OLD, loaded=())) == [job.id]


def test_a_job_that_came_back_to_the_queue_is_young_once_more(store: Store) -> None:
    hold(store, "holder")
    insert_one(store)
    store.release([lease(claim_one(store, OLD))], "drain", OLD)
    assert claim(store, 5, OLD, loaded=()) == []
    assert len(claim(store, 5, OLD + HOLD_S, loaded=())) == 1


def test_a_job_of_a_clock_that_has_gone_back_is_not_held(store: Store) -> None:
    hold(store, "holder")
    job = insert_one(store)
    assert ids(claim(store, 5, NOW - 3600, loaded=())) == [job.id]


def test_a_young_job_that_nobody_has_the_model_of_goes_to_whoever_asks(store: Store) -> None:
    hold(store, "holder", model="m2")
    hold(store, "w")  # it said so, and has had to make room since
    job = insert_one(store)
    assert ids(claim(store, 5, loaded=())) == [job.id]


def test_jobs_are_left_to_live_workers_that_are_ready(store: Store) -> None:
    hold(store, "silent", at=NOW - LEASE_S)
    hold(store, "starting", state="starting")
    hold(store, "draining", state="draining")
    hold(store, "asked")
    store.ask_drain("asked")
    hold(store, "dead")
    store.release_worker("dead", "killed", NOW)
    hold(store, "roomy")
    hold(store, "roomy", loaded=())
    hold(store, "of-parts", models=("pipeline-over-m",))  # has the model for another's sake, and takes none of its jobs
    job = insert_one(store)
    assert ids(claim(store, 5, loaded=())) == [job.id]


def test_what_is_urgent_is_left_to_nobody(store: Store) -> None:
    hold(store, "holder")
    insert_one(store)
    urgent = insert_one(store, priority=HIGH)
    assert ids(claim(store, 5, loaded=())) == [urgent.id]


def test_what_is_due_soon_is_left_to_nobody(store: Store) -> None:
    hold(store, "holder", A[1])
    insert_one(store, deadline_at=YOUNG + CLOSE_S + 1)
    due = insert_one(store, deadline_at=YOUNG + CLOSE_S)
    assert ids(claim(store, 5, YOUNG, loaded=())) == [due.id]
    insert_with(store, A, deadline_at=YOUNG + CLOSE_S + 1)
    wants_adapter = insert_with(store, A, deadline_at=YOUNG + CLOSE_S)
    assert wants_adapter.id in ids(claim(store, 5, YOUNG))
    assert len(claim(store, 5, YOUNG)) == 0


def test_what_is_due_soon_is_found_behind_many_deadlines_of_another_model(store: Store) -> None:
    hold(store, "holder")
    insert(store, *[new_job(model="m2", deadline_at=NOW + 1 + number / 100) for number in range(70)])
    due = insert_one(store, deadline_at=NOW + CLOSE_S)
    assert ids(claim(store, 5, YOUNG, loaded=())) == [due.id]


def test_what_is_left_to_another_is_passed_over_and_no_more(store: Store) -> None:
    hold(store, "holder", model="m2")
    _, first, second = insert(store, new_job("a", model="m2", cost_s=0.1), new_job("b"), new_job("c"))
    assert ids(claim(store, 2, loaded=(), models=("m2", "m"))) == [first.id, second.id]


def test_a_young_job_is_left_to_the_worker_that_has_its_adapters_too(store: Store) -> None:
    hold(store, "w", A[1])
    hold(store, "holder", A[1], B[1])
    job = insert_with(store, A, B)
    assert claim(store, 5, YOUNG) == []
    assert ids(claim(store, 5, YOUNG, worker="holder")) == [job.id]


def test_a_job_is_not_held_for_adapters_that_no_other_worker_has_all_of(store: Store) -> None:
    hold(store, "other", A[1])
    hold(store, "another", A[1], B[1], model="m2")
    job = insert_with(store, A, B)
    assert ids(claim(store, 5)) == [job.id]


def test_who_has_the_adapters_takes_the_job_at_once(store: Store) -> None:
    hold(store, "w", A[1], B[1])
    hold(store, "holder", A[1], B[1])
    job = insert_with(store, B, A)
    assert ids(claim(store, 5)) == [job.id]


def test_a_job_is_held_for_adapters_no_longer_than_its_time(store: Store) -> None:
    hold(store, "holder", A[1])
    job = insert_with(store, A)
    assert claim(store, 5, YOUNG) == []
    assert ids(claim(store, 5, OLD)) == [job.id]


def test_a_scheduled_job_is_young_when_it_is_due(store: Store) -> None:
    hold(store, "holder", at=NOW + 5)
    job = insert_one(store, run_at=NOW + 5)
    store.stage_due(NOW + 5)
    assert claim(store, 5, NOW + 5, loaded=()) == []
    assert ids(claim(store, 5, NOW + 5, worker="holder")) == [job.id]


# Suspects


def suspects(store: Store, count: int) -> list[str]:
    """That many jobs whose worker died while it had them all."""
    insert(store, *[new_job() for _ in range(count)])
    jobs = claim(store, count, worker="dead")
    assert len(jobs) == count
    store.release_worker("dead", "killed", NOW)
    return ids(jobs)


def test_a_suspect_goes_alone(store: Store) -> None:
    first, second, third = suspects(store, 3)
    assert ids(claim(store, 5)) == [first]
    assert claim(store, 5, worker="w2") != []
    assert {fetch_state(store, name) for name in (first, second)} == {JobState.RUNNING}
    assert fetch_state(store, third) == JobState.QUEUED


def fetch_state(store: Store, job_id: str) -> JobState:
    """The job's state."""
    job = store.get(job_id)
    assert job is not None
    return job.state


def test_nothing_goes_to_a_busy_worker_while_a_suspect_is_at_the_head(store: Store) -> None:
    (first, _) = suspects(store, 2)
    insert(store, *[new_job() for _ in range(3)])
    assert claim(store, 5, is_idle=False) == []
    assert ids(claim(store, 5, is_idle=True)) == [first]


def test_what_goes_before_a_suspect_goes_without_it(store: Store) -> None:
    suspects(store, 2)
    urgent = insert(store, *[new_job(priority=HIGH) for _ in range(2)])
    assert ids(claim(store, 5)) == ids(urgent)


def test_a_worker_that_runs_a_suspect_is_given_nothing_more(store: Store) -> None:
    suspects(store, 2)
    ordinary = insert_one(store, priority=HIGH)
    claim_one(store, worker="other")  # takes the urgent one
    suspect = claim_one(store)
    assert suspect.is_suspect
    insert_one(store, priority=HIGH)
    assert claim(store, 5, is_idle=True) == []
    assert claim(store, 5, is_idle=False) == []
    store.complete(lease(suspect), [], {}, NOW)
    assert claim_one(store).priority == ordinary.priority


def test_a_suspect_stays_one_until_it_ends(store: Store) -> None:
    suspects(store, 2)
    job = claim_one(store)
    store.fail(lease(job), ERROR, {}, NOW, NOW + 1)
    store.stage_due(NOW + 1)
    assert fetch(store, job).is_suspect
    job = claim_one(store, NOW + 1)
    store.release([lease(job)], "drain", NOW + 1)
    assert fetch(store, job).is_suspect


def test_one_poison_among_eleven_innocents_dies_alone_and_they_succeed(store: Store) -> None:
    jobs = insert(store, *[new_job(max_attempts=3) for _ in range(12)])
    poison = jobs[7].id
    deaths = 0
    for turn in range(40):
        worker = f"w{turn}"
        got = claim(store, 12, NOW + turn, worker=worker)
        if not got:
            break
        if poison in ids(got):
            deaths += 1
            store.release_worker(worker, "killed", NOW + turn)
            continue
        for job in got:
            store.complete(lease(job), [], {}, NOW + turn)
    assert deaths == 1 + 3  # together once, then alone as often as it may
    ends = [fetch(store, job) for job in jobs]
    assert [job.state for job in ends if job.id != poison] == [JobState.SUCCEEDED] * 11
    assert [job.attempt for job in ends if job.id != poison] == [1] * 11
    (dead,) = [job for job in ends if job.id == poison]
    assert (dead.state, dead.attempt) == (JobState.FAILED, 3)
    assert [error["code"] for error in dead.errors] == ["worker_died"] * 3


# Many at once


def take_all(store: Store, worker: str, taken: list[str]) -> None:
    """Claim until nothing is left."""
    while got := store.claim(claimant(worker), 3, NOW):
        taken.extend(ids(got))


def test_many_threads_claim_each_job_once(store: Store, another: Callable[[], Store]) -> None:
    jobs = insert(store, *[new_job() for _ in range(90)])
    stores = [store, another()]
    taken: list[list[str]] = [[] for _ in range(8)]
    threads = [
        threading.Thread(target=take_all, args=(stores[number % 2], f"w{number}", taken[number])) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chain.from_iterable(taken)) == sorted(ids(jobs))


def take_in_process(url: str, worker: str, start: threading.Event, found: SimpleQueue[list[str]]) -> None:
    """What a worker process does: claim until nothing is left, and say what it got."""
    store = open_store(url)
    start.wait()
    taken: list[str] = []
    while got := store.claim(Claimant(worker, ("m",)), 2, NOW):
        taken.extend(ids(got))
    store.close()
    found.put(taken)


@pytest.mark.slow
def test_processes_claim_each_job_once(store: Store, store_url: str) -> None:
    jobs = insert(store, *[new_job() for _ in range(120)])
    context = multiprocessing.get_context("spawn")
    start, found = context.Event(), context.SimpleQueue()
    workers = [
        context.Process(target=take_in_process, args=(store_url, f"w{number}", start, found)) for number in range(2)
    ]
    for worker in workers:
        worker.start()
    start.set()
    taken = [found.get() for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(chain.from_iterable(taken)) == sorted(ids(jobs))

"""Coming in: insert, idempotency, the rank of fair queueing, scheduled starts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from darkroom.core import Job, JobState
from darkroom.errors import Conflict, IdempotencyConflict, QueueFull
from darkroom.jobs.store import Store
from tests.contract.making import (
    DAY_S,
    ERROR,
    NOW,
    accepted,
    artifact,
    claim,
    claim_one,
    fetch,
    ids,
    insert,
    insert_one,
    lease,
    new_job,
    present,
    types,
)


def test_insert_keeps_every_field(store: Store) -> None:
    made = new_job(
        tenant="é",
        model="m2",
        task="inpaint",
        input={"prompt": "a 🦊", "sizes": [64, 96.5], "none": None, "yes": True},
        output={"format": "png"},
        metadata={"a": {"b": 1}},
        warnings=("cut", "short"),
        priority=-3,
        cost_s=2.5,
        weight=5.0,
        steps=7,
        max_attempts=2,
        deadline_at=NOW + 5.25,
        webhook="https://example.org/x",
        idempotency_key="k",
        digest="d",
        request_id="r",
        webhook_events=("started", "failed"),
        key_id="k:1",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    job = insert(store, made)[0]
    same = ("id", "tenant", "model", "task", "input", "output", "metadata", "warnings", "priority", "cost_s", "steps")
    same += ("max_attempts", "deadline_at", "run_at", "webhook", "idempotency_key", "request_id", "webhook_events")
    same += ("key_id", "traceparent")
    assert [getattr(job, name) for name in same] == [getattr(made, name) for name in same]
    assert job.state == JobState.QUEUED
    assert job.times == {"created": NOW, "queued": NOW}
    assert (job.step, job.attempt, job.fence, job.worker, job.lease_until) == (0, 0, 0, None, None)
    assert (job.is_suspect, job.is_cancelling, job.outputs, job.metrics, job.errors) == (False, False, (), {}, ())
    assert store.get(job.id) == job


def test_insert_answers_each_job_in_order(store: Store) -> None:
    made = [new_job() for _ in range(5)]
    assert ids(insert(store, *made)) == [job.id for job in made]


def test_insert_of_nothing_answers_nothing(store: Store) -> None:
    assert store.insert([], NOW) == []


def test_an_accepted_job_is_seen_by_others_at_once(store: Store, another: Callable[[], Store]) -> None:
    job = insert_one(store)
    assert another().get(job.id) == job


def test_accepted_jobs_outlive_the_handle(store: Store, another: Callable[[], Store]) -> None:
    job = insert_one(store)
    store.close()
    assert another().get(job.id) == job


def test_a_taken_id_is_a_conflict_and_harms_no_other(store: Store) -> None:
    first = insert_one(store, input={"prompt": "first"})
    answers = store.insert([new_job(), new_job(id=first.id), new_job()], NOW)
    assert isinstance(answers[1], Conflict)
    assert [isinstance(answer, Job) for answer in answers] == [True, False, True]
    assert fetch(store, first) == first


# Idempotency


def test_an_idempotency_key_gives_the_job_it_made(store: Store) -> None:
    first = insert_one(store, idempotency_key="k", digest="d")
    again = insert_one(store, NOW + 10, idempotency_key="k", digest="d")
    assert again == first
    assert store.queue().queued == 1


def test_an_idempotency_key_gives_the_job_as_it_is_now(store: Store) -> None:
    first = insert_one(store, idempotency_key="k", digest="d")
    store.cancel(first.id, NOW)
    assert insert_one(store, idempotency_key="k", digest="d").state == JobState.CANCELLED


def test_an_idempotency_key_with_another_request_is_a_conflict(store: Store) -> None:
    insert_one(store, idempotency_key="k", digest="d")
    (answer,) = store.insert([new_job(idempotency_key="k", digest="other")], NOW)
    assert isinstance(answer, IdempotencyConflict)
    assert store.queue().queued == 1


def test_an_idempotency_key_belongs_to_its_tenant(store: Store) -> None:
    first = insert_one(store, tenant="a", idempotency_key="k", digest="d")
    other = insert_one(store, tenant="b", idempotency_key="k", digest="e")
    assert first.id != other.id


def test_an_idempotency_key_counts_within_one_insert(store: Store) -> None:
    made = [new_job(idempotency_key="k", digest="d"), new_job(idempotency_key="k", digest="d")]
    made.append(new_job(idempotency_key="k", digest="other"))
    first, second, third = store.insert(made, NOW)
    assert first == second
    assert isinstance(third, IdempotencyConflict)


@pytest.mark.parametrize(("after_s", "is_remembered"), [(DAY_S - 1, True), (DAY_S + 1, False)])
def test_an_idempotency_key_is_remembered_for_its_time(store: Store, after_s: float, is_remembered: bool) -> None:
    first = insert_one(store, idempotency_key="k", digest="d")
    later = insert_one(store, NOW + after_s, idempotency_key="k", digest="d")
    assert (later.id == first.id) is is_remembered
    if not is_remembered:  # and the new one counts from now on
        assert insert_one(store, NOW + after_s + DAY_S - 1, idempotency_key="k", digest="d").id == later.id


def test_concurrent_inserts_with_one_key_make_one_job(store: Store, another: Callable[[], Store]) -> None:
    stores = [store, another(), another()]
    start = threading.Barrier(9)
    answers: list[Job | Exception] = []

    def send(mine: Store) -> None:
        start.wait()
        answers.extend(mine.insert([new_job(idempotency_key="k", digest="d")], NOW))

    threads = [threading.Thread(target=send, args=(stores[number % 3],)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 9
    assert len({accepted(answer).id for answer in answers}) == 1
    assert store.queue().queued == 1


# A bounded queue


def test_a_full_queue_refuses_those_past_the_limit(store: Store) -> None:
    insert(store, new_job())
    answers = store.insert([new_job(), new_job(), new_job()], NOW, max_queued=3)
    assert [isinstance(answer, Job) for answer in answers] == [True, True, False]
    assert isinstance(answers[2], QueueFull)
    assert answers[2].field is None
    assert store.queue().queued == 3


def test_running_jobs_do_not_fill_the_queue(store: Store) -> None:
    insert_one(store)
    claim_one(store)
    accepted(store.insert([new_job()], NOW, max_queued=1)[0])


def test_a_full_queue_still_answers_a_known_key(store: Store) -> None:
    first = insert_one(store, idempotency_key="k", digest="d")
    assert store.insert([new_job(idempotency_key="k", digest="d")], NOW, max_queued=1) == [first]


def test_scheduled_jobs_take_no_room_in_the_queue_and_queued_ones_none_in_the_schedule(store: Store) -> None:
    insert(store, *[new_job(run_at=NOW + 60) for _ in range(3)])
    accepted(store.insert([new_job()], NOW, max_queued=1)[0])
    accepted(store.insert([new_job(run_at=NOW + 60)], NOW, max_queued=1, max_scheduled=4)[0])


def test_a_tenants_scheduled_jobs_have_a_bound_that_leaves_other_tenants_alone(store: Store) -> None:
    insert(store, new_job(run_at=NOW + 90), new_job("b", run_at=NOW + 30))
    made = [new_job(run_at=NOW + 60), new_job(run_at=NOW + 120), new_job("b", run_at=NOW + 60), new_job(run_at=NOW)]
    answers = store.insert(made, NOW, max_scheduled=2)
    assert [isinstance(answer, Job) for answer in answers] == [True, False, True, True]
    assert isinstance(answers[1], QueueFull)
    assert answers[1].field == "run_at"
    assert answers[1].retry_after_s == pytest.approx(60.0)
    store.stage_due(NOW + 60)
    accepted(store.insert([made[1]], NOW + 60, max_scheduled=2)[0])


def test_the_schedules_refusal_never_sends_a_client_past_the_time_when_there_is_room(store: Store) -> None:
    insert(store, *[new_job("b", run_at=NOW + 10 + number) for number in range(150)], new_job(run_at=NOW + 500))
    (answer,) = store.insert([new_job(run_at=NOW + 600)], NOW, max_scheduled=1)
    assert isinstance(answer, QueueFull)
    assert 1.0 < answer.retry_after_s <= 500.0


# What a key made, asked before a job is judged


def test_a_known_key_gives_its_job_whatever_became_of_it(store: Store) -> None:
    made = insert_one(store, idempotency_key="k", digest="d")
    assert store.known("t", "k", "d", NOW) == made
    done = claim_one(store)
    ended = store.complete(lease(done), [artifact(done)], {}, NOW)
    assert store.known("t", "k", "d", NOW + DAY_S - 1) == ended


def test_an_unknown_key_of_another_tenant_or_of_yesterday_gives_nothing(store: Store) -> None:
    made = insert_one(store, idempotency_key="k", digest="d")
    assert store.known("t", "k2", "d", NOW) is None
    assert store.known("b", "k", "d", NOW) is None
    assert store.known("t", "k", "d", NOW + DAY_S + 1) is None
    store.cancel(made.id, NOW)
    store.delete(made.id)
    assert store.known("t", "k", "d", NOW) is None


def test_a_known_key_with_another_request_is_a_conflict(store: Store) -> None:
    insert_one(store, tenant="b:c", idempotency_key="k", digest="d")
    assert store.known("b", "c:k", "d", NOW) is None
    with pytest.raises(IdempotencyConflict) as caught:
        store.known("b:c", "k", "e", NOW)
    assert caught.value.field == "Idempotency-Key"


def test_a_refused_job_leaves_no_idempotency_key(store: Store) -> None:
    insert_one(store)
    assert isinstance(store.insert([new_job(idempotency_key="k", digest="d")], NOW, max_queued=1)[0], QueueFull)
    insert_one(store, idempotency_key="k", digest="other")


# Rank: start-time fair queueing


def test_a_tenants_jobs_rank_one_cost_after_another(store: Store) -> None:
    jobs = insert(store, new_job(cost_s=2.0), new_job(cost_s=3.0), new_job(cost_s=0.5))
    assert [job.rank for job in jobs] == pytest.approx([2.0, 5.0, 5.5])


def test_weight_divides_the_cost(store: Store) -> None:
    jobs = insert(store, new_job(cost_s=2.0, weight=4.0), new_job(cost_s=2.0, weight=4.0))
    assert [job.rank for job in jobs] == pytest.approx([0.5, 1.0])


def test_a_newcomer_starts_at_the_virtual_time(store: Store) -> None:
    insert(store, *[new_job("a") for _ in range(10)])
    assert claim(store, 4)[-1].rank == pytest.approx(4.0)
    assert insert_one(store, tenant="b", cost_s=1.0).rank == pytest.approx(5.0)


def test_a_burst_of_one_tenant_does_not_starve_another(store: Store) -> None:
    insert(store, *[new_job("burst") for _ in range(1000)])
    late = insert(store, *[new_job("late") for _ in range(3)])
    first = claim(store, 7)
    assert {job.id for job in late} <= {job.id for job in first}


def test_a_later_newcomer_waits_for_one_round_only(store: Store) -> None:
    insert(store, *[new_job("burst") for _ in range(100)])
    claim(store, 50)
    late = insert_one(store, tenant="late")
    assert late.id in ids(claim(store, 2))


def test_tenants_are_served_by_weight(store: Store) -> None:
    insert(store, *[new_job("heavy", weight=3.0) for _ in range(60)])
    insert(store, *[new_job("light", weight=1.0) for _ in range(60)])
    served = [job.tenant for job in claim(store, 40)]
    assert 29 <= served.count("heavy") <= 31


def test_an_idle_tenant_saves_nothing_up(store: Store) -> None:
    insert_one(store, tenant="idle")
    insert(store, *[new_job("busy") for _ in range(50)])
    claim(store, 41)
    back = insert(store, *[new_job("idle") for _ in range(5)])
    assert [job.rank for job in back] == pytest.approx([41.0, 42.0, 43.0, 44.0, 45.0])


def test_a_claim_out_of_turn_sets_no_newcomer_back(store: Store) -> None:
    burst = insert(store, *[new_job("burst") for _ in range(100)])
    store.set_priority(burst[-1].id, 5, NOW)
    assert claim_one(store).id == burst[-1].id
    late = insert_one(store, tenant="late")
    assert late.id in ids(claim(store, 3))


def test_a_claim_out_of_turn_takes_no_newcomer_past_the_others(store: Store) -> None:
    insert(store, *[new_job("old", model="slow") for _ in range(2)])
    insert(store, *[new_job("busy") for _ in range(60)])
    claim(store, 50)
    claim(store, 1, models=("slow",))  # its rank is 1: the virtual time would fall back
    late = insert(store, *[new_job("late") for _ in range(20)])
    served = [job.tenant for job in claim(store, 10)]
    assert served.count("busy") >= 4
    assert late[0].rank == pytest.approx(51.0)


# Priorities: between a tenant's own jobs alone


def test_what_one_tenant_asks_for_takes_no_turn_of_another(store: Store) -> None:
    patient = insert(store, *[new_job("patient") for _ in range(20)])
    insert(store, *[new_job("pushy", priority=100) for _ in range(40)])
    insert(store, *[new_job("pushy", priority=number) for number in range(40)])
    served = [job.tenant for job in claim(store, 20)]
    assert 9 <= served.count("patient") <= 11
    assert store.position(patient[19].id) is not None


def test_raising_ones_jobs_takes_no_turn_of_another(store: Store) -> None:
    insert(store, *[new_job("patient") for _ in range(20)])
    pushy = insert(store, *[new_job("pushy") for _ in range(20)])
    for number, job in enumerate(pushy):
        store.set_priority(job.id, 1 + number, NOW)
    served = claim(store, 20)
    mine = [job.id for job in served if job.tenant == "pushy"]
    assert 9 <= len(mine) <= 11
    assert mine == ids(pushy)[::-1][: len(mine)]


def test_a_tenants_own_jobs_go_by_priority_at_the_turns_that_it_has(store: Store) -> None:
    others = insert(store, *[new_job("other") for _ in range(4)])
    low, mid, high = insert(store, *[new_job("t", priority=priority) for priority in (-5, 0, 5)])
    assert [present(store.get(job.id)).rank for job in (high, mid, low)] == pytest.approx([1.0, 2.0, 3.0])
    order = [others[0], high, others[1], mid, others[2], low, others[3]]
    assert ids(claim(store, 7)) == ids(order)


def test_jobs_that_a_priority_goes_before_move_back_by_its_cost(store: Store) -> None:
    first, second = insert(store, new_job(cost_s=1.0), new_job(cost_s=2.0))
    urgent = insert_one(store, cost_s=5.0, priority=1)
    assert [present(store.get(job.id)).rank for job in (urgent, first, second)] == pytest.approx([5.0, 6.0, 8.0])
    assert insert_one(store, cost_s=1.0).rank == pytest.approx(9.0)


def test_an_old_job_that_nobody_serves_saves_no_turn_for_urgent_ones(store: Store) -> None:
    insert_one(store, tenant="sly", model="unserved", priority=-100)
    insert(store, *[new_job("busy") for _ in range(100)])
    claim(store, 50)
    insert(store, *[new_job("sly", priority=100) for _ in range(20)])
    served = [job.tenant for job in claim(store, 10)]
    assert served.count("busy") >= 4


def came_back(store: Store, **fields: Any) -> Job:
    """A job that was claimed, and is back in the queue with the first rank; nobody serves its model any more."""
    insert_one(store, model="gone", **fields)
    job = claim_one(store, models=("gone",), loaded=("gone",))
    insert(store, *[new_job(job.tenant, priority=5) for _ in range(10)])
    store.release([lease(job)], "drain", NOW)
    return job


def test_a_job_that_came_back_opens_no_way_past_equals(store: Store) -> None:
    back = came_back(store, tenant="sly")
    insert(store, *[new_job("other") for _ in range(30)])
    late = insert(store, *[new_job("sly", priority=5) for _ in range(10)])
    served = claim(store, 40)
    assert 9 <= [job.tenant for job in served[:20]].count("sly") <= 11
    assert ids([job for job in served if job.tenant == "sly"])[10:] == ids(late)
    assert fetch(store, back).rank > late[-1].rank


def test_a_raised_job_does_not_pass_its_equals_by_one_that_came_back(store: Store) -> None:
    came_back(store)
    raised = insert_one(store)
    other = insert_one(store, tenant="other", cost_s=30.0)
    store.set_priority(raised.id, 5, NOW)
    assert fetch(store, raised).rank == raised.rank
    assert ids(claim(store, 12))[10:] == [raised.id, other.id]


def test_a_job_whose_id_is_taken_moves_nobody_back(store: Store) -> None:
    taken = insert_one(store)
    assert isinstance(store.insert([new_job(id=taken.id, priority=9)], NOW)[0], Conflict)
    assert present(store.get(taken.id)).rank == taken.rank
    assert insert_one(store).rank == pytest.approx(2.0)


# Scheduled


def test_a_job_with_a_later_start_is_scheduled(store: Store) -> None:
    job = insert_one(store, run_at=NOW + 60)
    assert job.state == JobState.SCHEDULED
    assert job.times == {"created": NOW, "scheduled": NOW}
    assert job.run_at == NOW + 60
    assert claim(store) == []


@pytest.mark.parametrize("run_at", [NOW - 60, NOW])
def test_a_job_whose_start_has_come_is_queued(store: Store, run_at: float) -> None:
    assert insert_one(store, run_at=run_at).state == JobState.QUEUED


def test_stage_due_queues_those_whose_time_has_come(store: Store) -> None:
    due, later = insert(store, new_job(run_at=NOW + 60), new_job(run_at=NOW + 61))
    assert store.stage_due(NOW + 59) == 0
    assert store.stage_due(NOW + 60) == 1
    assert store.stage_due(NOW + 60) == 0
    staged = fetch(store, due)
    assert staged.state == JobState.QUEUED
    assert staged.times == {"created": NOW, "scheduled": NOW, "queued": NOW + 60}
    assert fetch(store, later).state == JobState.SCHEDULED
    assert types(store.events(due.id, 0)) == ["queued"]
    assert claim_one(store, NOW + 60).id == due.id


def test_stage_due_queues_all_that_are_due_at_once(store: Store) -> None:
    jobs = insert(store, *[new_job(run_at=NOW + 1 + number, priority=number % 2) for number in range(120)])
    assert store.stage_due(NOW + 120) == 120
    assert store.stage_due(NOW + 120) == 0
    assert ids(claim(store, 200)) == [job.id for job in sorted(jobs, key=lambda job: -job.priority)]


def test_stage_due_queues_the_earliest_first(store: Store) -> None:
    second, first = insert(store, new_job(run_at=NOW + 60), new_job(run_at=NOW + 30))
    store.stage_due(NOW + 90)
    assert ids(claim(store, 2)) == [first.id, second.id]


def test_jobs_scheduled_long_ago_come_at_no_better_rank(store: Store) -> None:
    insert(store, *[new_job("early", run_at=NOW + 60) for _ in range(50)])
    insert(store, *[new_job("busy") for _ in range(60)])
    claim(store, 50)
    store.stage_due(NOW + 60)
    served = [job.tenant for job in claim(store, 10, NOW + 60)]
    assert served.count("busy") >= 4


def test_a_retry_keeps_its_rank_and_its_jobs_run_at(store: Store) -> None:
    job = insert_one(store)
    claimed = claim_one(store)
    retried = store.fail(lease(claimed), ERROR, {}, NOW + 1, NOW + 5)
    insert(store, *[new_job() for _ in range(3)], now=NOW + 2)
    store.stage_due(NOW + 5)
    assert retried.run_at == NOW + 5
    assert fetch(store, job).rank == job.rank
    assert claim_one(store, NOW + 5).id == job.id


def test_an_output_of_an_earlier_job_does_not_change_a_new_one(store: Store) -> None:
    insert_one(store)
    done = claim_one(store)
    store.complete(lease(done), [artifact(done)], {}, NOW)
    assert insert_one(store).outputs == ()

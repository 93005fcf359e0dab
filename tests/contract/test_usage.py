"""What a key may use and has used: allowances, reservations, and what each end of a job makes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from darkroom.core import Allowance, Job, Usage
from darkroom.errors import Conflict, IdempotencyConflict, LimitExceeded, QueueFull
from darkroom.jobs.store import Store
from tests.contract.making import (
    DAY_S,
    ERROR,
    LEASE_S,
    NOW,
    claim_one,
    claimant,
    fetch,
    insert,
    insert_one,
    lease,
    new_job,
    running,
)

DAY = NOW - NOW % DAY_S  # the midnight before NOW
COSTS = {"key_id": "k", "cost_s": 2.0, "cost_usd": 0.5}
SPENT = {"device_s": 3.0, "cost_usd": 0.75, "denoise_s": 1.0}


def used(store: Store, now: float = NOW, key_id: str = "k") -> tuple[int, float, float]:
    """Live jobs, device seconds and dollars of the day."""
    usage = store.usage(key_id, now)
    return usage.live_jobs, usage.device_s, usage.cost_usd


def keyed(allowance: Allowance | None = None, **fields: Any) -> Any:
    """A job that comes with a key."""
    return new_job(**({"key_id": "k", "allowance": allowance or Allowance()} | fields))


def refusal(store: Store, allowance: Allowance, now: float = NOW, **fields: Any) -> LimitExceeded:
    """The refusal of a job that must not fit."""
    (answer,) = store.insert([keyed(allowance, **fields)], now)
    assert isinstance(answer, LimitExceeded), answer
    return answer


# What is used


def test_a_key_has_used_nothing_at_first(store: Store) -> None:
    assert store.usage("k", NOW) == Usage()


def test_a_new_job_is_live_and_its_prediction_is_used(store: Store) -> None:
    insert_one(store, **COSTS)
    assert used(store) == (1, 2.0, 0.5)
    insert_one(store, **COSTS, run_at=NOW + 60)
    assert used(store) == (2, 4.0, 1.0)
    claim_one(store)
    assert used(store) == (2, 4.0, 1.0)
    assert store.usage("k", NOW).next_job_at == 0.0


def test_a_job_without_a_key_is_not_counted(store: Store) -> None:
    job = running(store, cost_s=2.0, cost_usd=0.5)
    store.complete(lease(job), [], SPENT, NOW)
    assert store.usage("", NOW) == Usage()
    assert store.usage("k", NOW) == Usage()


def test_each_key_has_its_own_usage(store: Store) -> None:
    insert(store, new_job(**COSTS), new_job(**COSTS | {"key_id": "k2"}), new_job(**COSTS | {"key_id": "k:2"}))
    assert [used(store, key_id=name) for name in ("k", "k2", "k:2")] == [(1, 2.0, 0.5)] * 3


def complete(store: Store, job: Job) -> None:
    store.complete(lease(job), [], SPENT, NOW)


def fail(store: Store, job: Job) -> None:
    store.fail(lease(job), ERROR, SPENT, NOW, None)


def confirm_cancelled(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.confirm_cancelled(lease(job), SPENT, NOW)


def complete_without_figures(store: Store, job: Job) -> None:
    store.complete(lease(job), [], {"denoise_s": 1.0}, NOW)


def die(store: Store, job: Job) -> None:
    store.release_worker("w", "killed", NOW)


def release_when_marked(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.release([lease(job)], "drain", NOW)


def release_with_figures_when_marked(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.release([lease(job)], "drain", NOW, {lease(job): SPENT})


def lapse_when_marked(store: Store, job: Job) -> None:
    store.cancel(job.id, NOW)
    store.rescue(NOW + LEASE_S + 1)


TAKEN, NONE = (0, 3.0, 0.75), (0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (complete, TAKEN),
        (fail, TAKEN),
        (confirm_cancelled, TAKEN),
        (complete_without_figures, NONE),
        (die, NONE),
        (release_when_marked, NONE),
        (release_with_figures_when_marked, TAKEN),
        (lapse_when_marked, NONE),
    ],
)
def test_an_ended_job_has_used_what_its_metrics_say(
    store: Store, end: Callable[[Store, Job], None], expected: tuple[int, float, float]
) -> None:
    job = running(store, **COSTS, max_attempts=1)
    end(store, job)
    assert used(store) == expected


@pytest.mark.parametrize("run_at", [None, NOW + 60])
def test_a_job_cancelled_before_it_ran_has_used_nothing(store: Store, run_at: float | None) -> None:
    job = insert_one(store, **COSTS, run_at=run_at)
    store.cancel(job.id, NOW)
    store.cancel(job.id, NOW)
    assert used(store) == NONE


@pytest.mark.parametrize("run_at", [None, NOW + 60])
def test_an_expired_job_has_used_nothing(store: Store, run_at: float | None) -> None:
    insert_one(store, **COSTS, run_at=run_at, deadline_at=NOW + 1)
    store.expire(NOW + 2)
    assert used(store) == NONE


def test_a_released_job_stays_reserved_and_is_settled_once(store: Store) -> None:
    job = running(store, **COSTS)
    store.release([lease(job)], "drain", NOW)
    assert used(store) == (1, 2.0, 0.5)
    again = claim_one(store)
    assert used(store) == (1, 2.0, 0.5)
    complete(store, again)
    assert used(store) == TAKEN


def test_what_the_attempts_of_a_job_took_adds_up(store: Store) -> None:
    job = running(store, **COSTS)
    for number in (1, 2):
        failed = store.fail(lease(job), ERROR, {"device_s": 9.0, "cost_usd": 4.0, "load_s": 1.0}, NOW, NOW)
        assert failed.metrics == {"device_s": 9.0 * number, "cost_usd": 4.0 * number, "load_s": 1.0}
        assert used(store) == (1, 2.0, 0.5)
        store.stage_due(NOW)
        job = claim_one(store)
    done = store.complete(lease(job), [], SPENT, NOW)
    assert done.metrics == {**SPENT, "device_s": 21.0, "cost_usd": 8.75}
    assert used(store) == (0, 21.0, 8.75)


def test_what_attempts_took_that_were_handed_back_adds_up(store: Store) -> None:
    job = running(store, **COSTS, max_attempts=1)
    for number in (1, 2):
        took = {"device_s": 9.0, "cost_usd": 4.0, "load_s": 1.0}
        assert store.release([lease(job)], "drain", NOW, {lease(job): took}) == 1
        job = claim_one(store)
        assert (job.attempt, job.metrics) == (1, {**took, "device_s": 9.0 * number, "cost_usd": 4.0 * number})
        assert used(store) == (1, 2.0, 0.5)
    done = store.complete(lease(job), [], SPENT, NOW)
    assert done.metrics == {**SPENT, "device_s": 21.0, "cost_usd": 8.75}
    assert used(store) == (0, 21.0, 8.75)


def test_each_attempt_that_is_handed_back_has_its_own_figures(store: Store) -> None:
    insert(store, *[new_job(**COSTS) for _ in range(3)])
    jobs = store.claim(claimant(), 3, NOW)
    for job in jobs[:2]:
        store.fail(lease(job), ERROR, SPENT, NOW, NOW)
    store.stage_due(NOW)
    first, second = store.claim(claimant(), 2, NOW)
    took = {lease(second): {"device_s": 1.0}, lease(jobs[2]): {}}
    lost = {lease(jobs[0]): {"device_s": 7.0}}
    assert store.release([lease(jobs[0]), lease(first), lease(second), lease(jobs[2])], "drain", NOW, took | lost) == 3
    kept = [fetch(store, job).metrics for job in (first, second, jobs[2])]
    assert kept == [SPENT, {"device_s": 4.0, "cost_usd": 0.75}, {}]


def test_attempts_that_fail_do_not_get_past_a_budget(store: Store) -> None:
    limited = {**COSTS, "allowance": Allowance(device_s_per_day=10.0)}
    job = running(store, **limited, max_attempts=3)
    for _ in range(2):
        store.fail(lease(job), ERROR, {"device_s": 4.0}, NOW, NOW)
        store.stage_due(NOW)
        job = claim_one(store)
    store.fail(lease(job), ERROR, {"device_s": 1.0}, NOW, NOW)
    assert used(store)[1] == 9.0
    (refused,) = store.insert([new_job(**limited)], NOW)
    assert isinstance(refused, LimitExceeded)
    assert refused.field == "device_s_per_day"


def test_a_job_cancelled_between_attempts_has_used_what_the_last_one_took(store: Store) -> None:
    job = running(store, **COSTS)
    store.fail(lease(job), ERROR, SPENT, NOW, NOW + 60)
    store.cancel(job.id, NOW)
    assert used(store) == TAKEN


def test_a_last_attempt_without_figures_takes_none_of_the_earlier_ones_back(store: Store) -> None:
    job = running(store, **COSTS)
    store.fail(lease(job), ERROR, SPENT, NOW, NOW + 1)
    store.stage_due(NOW + 1)
    complete_without_figures(store, claim_one(store, NOW + 1))
    assert used(store) == TAKEN


def test_a_deleted_job_leaves_its_usage(store: Store) -> None:
    job = running(store, **COSTS)
    complete(store, job)
    store.delete(job.id)
    assert used(store) == TAKEN


def test_a_pruned_job_leaves_its_usage(store: Store) -> None:
    complete(store, running(store, **COSTS))
    store.prune(NOW + 1, 0, NOW + 1)
    assert used(store) == TAKEN


def test_a_day_ends_at_midnight_utc(store: Store) -> None:
    insert_one(store, DAY + DAY_S - 1, **COSTS)
    assert used(store, DAY + DAY_S - 0.5) == (1, 2.0, 0.5)
    assert used(store, DAY + DAY_S) == (1, 0.0, 0.0)
    insert_one(store, DAY + DAY_S, **COSTS)
    assert used(store, DAY + DAY_S) == (2, 2.0, 0.5)
    assert used(store, DAY) == (2, 2.0, 0.5)


def test_a_job_that_ends_tomorrow_is_settled_today(store: Store) -> None:
    insert_one(store, DAY + DAY_S - 1, **COSTS)
    job = claim_one(store, DAY + DAY_S + 1)
    store.complete(lease(job), [], SPENT, DAY + DAY_S + 2)
    assert used(store, DAY) == TAKEN
    assert used(store, DAY + DAY_S + 2) == NONE


def test_a_job_that_ends_when_its_day_is_forgotten_harms_nobody(store: Store) -> None:
    insert_one(store, **COSTS)
    late = NOW + 9 * DAY_S
    store.prune(0, 0, late)
    complete(store, claim_one(store, late))
    assert used(store, late) == NONE


def test_what_is_taken_back_leaves_nothing_behind(store: Store) -> None:
    jobs = [insert_one(store, key_id="k", cost_s=0.1 * n, cost_usd=0.0001 * n) for n in range(1, 20)]
    for job in jobs:
        store.cancel(job.id, NOW)
    assert used(store) == NONE


def test_wild_figures_do_not_break_an_end(store: Store) -> None:
    job = running(store, **COSTS)
    store.complete(lease(job), [], {"device_s": 1e300, "cost_usd": -5.0}, NOW)
    live, device_s, usd = used(store)
    assert (live, usd) == (0, 0.0)
    assert device_s > 1e6


# What uses nothing


def test_an_idempotent_repeat_uses_nothing(store: Store) -> None:
    allowance = Allowance(1, 1, 2.0, 0.5)
    new = keyed(allowance, idempotency_key="i", digest="d", **{n: v for n, v in COSTS.items() if n != "key_id"})
    (first,) = store.insert([new], NOW)
    before = store.usage("k", NOW)
    assert store.insert([new], NOW) == [first]
    (other,) = store.insert([keyed(allowance, idempotency_key="i", digest="other")], NOW)
    assert isinstance(other, IdempotencyConflict)
    assert store.usage("k", NOW) == before


def test_a_full_queue_uses_nothing(store: Store) -> None:
    insert_one(store)
    (answer,) = store.insert([keyed(Allowance(jobs_per_minute=5), cost_s=2.0)], NOW, max_queued=1)
    assert isinstance(answer, QueueFull)
    assert store.usage("k", NOW) == Usage()


def test_a_taken_id_uses_nothing(store: Store) -> None:
    taken = insert_one(store)
    (answer,) = store.insert([keyed(Allowance(jobs_per_minute=1), id=taken.id)], NOW)
    assert isinstance(answer, Conflict)
    assert store.usage("k", NOW) == Usage()


@pytest.mark.parametrize(
    "allowance",
    [
        Allowance(jobs_per_minute=9, live_jobs=0),
        Allowance(jobs_per_minute=9, device_s_per_day=1.9),
        Allowance(jobs_per_minute=9, usd_per_day=0.4),
        Allowance(jobs_per_minute=0),
    ],
)
def test_a_refused_job_uses_nothing(store: Store, allowance: Allowance) -> None:
    (answer,) = store.insert([new_job(**COSTS, allowance=allowance, idempotency_key="i", digest="d")], NOW)
    assert isinstance(answer, LimitExceeded)
    assert store.usage("k", NOW) == Usage()
    assert store.queue().queued == 0
    insert_one(store, idempotency_key="i", digest="other")


# Allowances


def test_a_key_has_only_so_many_live_jobs(store: Store) -> None:
    allowance = Allowance(live_jobs=3)
    waiting, _, other = insert(store, keyed(allowance), keyed(allowance, run_at=NOW + 60), keyed(allowance))
    claimed = claim_one(store)
    error = refusal(store, allowance)
    assert (error.code, error.field, error.retry_after_s) == ("limit_exceeded", "live_jobs", 1.0)
    assert "3" in error.message
    insert(store, keyed(allowance, key_id="k2"), new_job())
    assert claimed.id == waiting.id
    complete(store, claimed)
    insert(store, keyed(allowance))
    refusal(store, allowance)
    store.cancel(other.id, NOW)
    insert(store, keyed(allowance))


def test_an_allowance_counts_within_one_insert(store: Store) -> None:
    answers = store.insert([keyed(Allowance(live_jobs=2)) for _ in range(4)], NOW)
    assert [isinstance(answer, Job) for answer in answers] == [True, True, False, False]


@pytest.mark.parametrize("field", ["device_s_per_day", "usd_per_day"])
def test_a_key_has_only_so_much_a_day(store: Store, field: str) -> None:
    allowance = Allowance(**{field: 1.0})
    cost = {"device_s_per_day": {"cost_s": 0.4}, "usd_per_day": {"cost_usd": 0.4}}[field]
    insert(store, keyed(allowance, **cost), keyed(allowance, **cost))
    error = refusal(store, allowance, **cost)
    assert (error.field, error.retry_after_s) == (field, pytest.approx(DAY + DAY_S - NOW))
    half = {name: value / 2 for name, value in cost.items()}
    insert(store, keyed(allowance, **half))  # to the very end
    refusal(store, allowance, **half)
    insert(store, keyed(allowance, **cost), now=NOW + error.retry_after_s)


def test_what_a_job_did_not_take_is_free_again(store: Store) -> None:
    allowance = Allowance(device_s_per_day=3.0)
    job = running(store, **COSTS, allowance=allowance)
    refusal(store, allowance, cost_s=2.0)
    store.complete(lease(job), [], {"device_s": 0.5}, NOW)
    insert(store, keyed(allowance, cost_s=2.5))


def test_what_a_job_took_beyond_its_prediction_counts(store: Store) -> None:
    allowance = Allowance(usd_per_day=1.0)
    job = running(store, **COSTS, allowance=allowance)
    store.complete(lease(job), [], {"cost_usd": 5.0}, NOW)
    assert refusal(store, allowance, cost_usd=0.1).field == "usd_per_day"


def test_the_limit_that_frees_last_speaks_first(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=1, live_jobs=1, device_s_per_day=1.0, usd_per_day=1.0)
    insert(store, keyed(allowance, cost_s=1.0, cost_usd=0.5))
    assert refusal(store, allowance, cost_s=1.0, cost_usd=1.0).field == "usd_per_day"
    assert refusal(store, allowance, cost_s=1.0).field == "device_s_per_day"
    assert refusal(store, allowance, cost_s=0.0).field == "jobs_per_minute"
    assert refusal(store, Allowance(live_jobs=1), cost_s=0.0).field == "live_jobs"


# The rate


def test_a_minutes_jobs_may_come_at_once(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=7)
    insert(store, *[keyed(allowance) for _ in range(7)], now=NOW + 0.1)
    error = refusal(store, allowance, NOW + 0.1)
    assert (error.field, error.retry_after_s) == ("jobs_per_minute", pytest.approx(60 / 7, abs=0.01))
    assert store.usage("k", NOW + 0.1).next_job_at == pytest.approx(NOW + 0.1 + 60 / 7, abs=0.01)


def test_a_job_fits_when_the_refusal_said(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=6)
    insert(store, *[keyed(allowance) for _ in range(6)])
    now = NOW
    for _ in range(8):
        wait_s = refusal(store, allowance, now).retry_after_s
        assert wait_s == pytest.approx(10.0, abs=0.01)
        refusal(store, allowance, now + wait_s - 0.1)
        now += wait_s
        assert store.usage("k", now).next_job_at == 0.0
        insert(store, keyed(allowance), now=now)


def test_a_pause_fills_the_bucket_and_no_more(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=4)
    for now in (NOW, NOW + 3600):
        insert(store, *[keyed(allowance) for _ in range(4)], now=now)
        refusal(store, allowance, now)


def test_the_rate_is_of_time_not_of_jobs_that_live(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=1)
    (job,) = insert(store, keyed(allowance))
    store.cancel(job.id, NOW)
    refusal(store, allowance)


def test_each_key_has_its_own_rate(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=1)
    insert(store, keyed(allowance), keyed(allowance, key_id="k2"))
    refusal(store, allowance)


def test_a_clock_that_went_back_locks_no_key_out(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=2)
    insert(store, *[keyed(allowance) for _ in range(2)])
    back = NOW - DAY_S
    assert store.usage("k", back).next_job_at == 0.0
    insert(store, *[keyed(allowance) for _ in range(2)], now=back)
    refusal(store, allowance, back)


def test_clocks_a_little_apart_give_no_second_bucket(store: Store) -> None:
    allowance = Allowance(jobs_per_minute=2)
    insert(store, *[keyed(allowance) for _ in range(2)])
    wait_s = refusal(store, allowance, NOW - 5).retry_after_s
    assert wait_s == pytest.approx(35.0, abs=0.01)
    assert store.usage("k", NOW - 5).next_job_at == pytest.approx(NOW + 30)
    insert(store, keyed(allowance), now=NOW - 5 + wait_s)


def test_a_changed_rate_counts_from_where_the_key_is(store: Store) -> None:
    insert(store, *[keyed(Allowance(jobs_per_minute=60)) for _ in range(30)])
    insert(store, *[keyed(Allowance(jobs_per_minute=2))])
    assert refusal(store, Allowance(jobs_per_minute=2)).retry_after_s == pytest.approx(30.0, abs=0.01)


def test_concurrent_inserts_stay_within_the_allowance(store: Store, another: Callable[[], Store]) -> None:
    stores = [store, another(), another()]
    allowance = Allowance(jobs_per_minute=10, live_jobs=4)
    start = threading.Barrier(9)
    answers: list[Job | Exception] = []

    def send(mine: Store) -> None:
        start.wait()
        answers.extend(mine.insert([keyed(allowance)], NOW))

    threads = [threading.Thread(target=send, args=(stores[number % 3],)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([answer for answer in answers if isinstance(answer, Job)]) == 4
    assert used(store)[0] == 4

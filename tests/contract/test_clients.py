"""A client's verbs: get, list, cancel, priority, delete, position, and artifacts."""

from __future__ import annotations

from typing import Any

import pytest

from darkroom.core import Job, JobState
from darkroom.errors import BadInput, JobNotFinal
from darkroom.jobs.store import JobFilter, Store
from tests.contract.making import (
    ERROR,
    HIGH,
    LOW,
    NOW,
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
    running,
    types,
)


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.get("nobody") is None
    assert store.cancel("nobody", NOW) is None
    assert store.set_priority("nobody", 1, NOW) is None
    assert store.position("nobody") is None
    assert store.artifact("nothing") is None
    assert store.delete_artifact("nothing") is None
    assert store.delete("nobody") == []
    assert store.events("nobody", 0) == []


# Lists


def listed(store: Store, **wanted: Any) -> list[str]:
    """Every job that fits, page after page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = store.list_jobs(JobFilter(cursor=cursor, **wanted))
        found += ids(page.jobs)
        if page.cursor is None:
            return found
        cursor = page.cursor


def test_jobs_are_listed_newest_first(store: Store) -> None:
    made = [insert_one(store, NOW + number) for number in range(3)]
    made += insert(store, *[new_job() for _ in range(12)], now=NOW + 3)  # of one moment: as they came
    assert listed(store) == ids(made)[::-1]
    assert listed(store, limit=4) == ids(made)[::-1]


def test_a_listed_job_is_the_whole_job(store: Store) -> None:
    job = running(store)
    store.report_step(lease(job), 2, 4, NOW)
    other = running(store, tenant="b")
    store.complete(lease(other), [artifact(other)], {}, NOW)
    assert store.list_jobs(JobFilter()).jobs == (fetch(store, other), fetch(store, job))
    assert store.list_jobs(JobFilter()).jobs[1].step == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"tenant": "a"}, [3, 2, 0]),
        ({"tenant": "nobody"}, []),
        ({"model": "m2"}, [2, 1]),
        ({"state": JobState.CANCELLED}, [1, 0]),
        ({"since": NOW + 2}, [3, 2]),
        ({"tenant": "a", "state": JobState.QUEUED}, [3, 2]),
        ({"tenant": "a", "model": "m2"}, [2]),
        ({"state": JobState.QUEUED, "model": "m", "since": NOW + 1}, [3]),
        ({"tenant": "a", "state": JobState.QUEUED, "model": "m2", "since": NOW + 2}, [2]),
        ({"tenant": "a", "state": JobState.RUNNING}, []),
    ],
)
@pytest.mark.parametrize("limit", [1, 50])
def test_a_list_holds_what_fits_the_filter(
    store: Store, wanted: dict[str, Any], expected: list[int], limit: int
) -> None:
    kinds = [("a", "m"), ("b", "m2"), ("a", "m2"), ("a", "m")]
    made = [insert_one(store, NOW + number, tenant=who, model=what) for number, (who, what) in enumerate(kinds)]
    for job in made[:2]:
        store.cancel(job.id, NOW + 5)
    assert listed(store, limit=limit, **wanted) == [made[number].id for number in expected]


def test_pages_are_stable_while_jobs_come_in(store: Store) -> None:
    made = insert(store, *[new_job() for _ in range(6)])
    first = store.list_jobs(JobFilter(limit=3))
    insert(store, *[new_job() for _ in range(4)])
    insert_one(store, NOW + 1)
    second = store.list_jobs(JobFilter(limit=3, cursor=first.cursor))
    assert ids(first.jobs + second.jobs) == ids(made)[::-1]


def test_pages_are_stable_while_jobs_go(store: Store) -> None:
    made = insert(store, *[new_job() for _ in range(6)])
    for job in made:
        store.cancel(job.id, NOW)
    first = store.list_jobs(JobFilter(limit=3))
    store.delete(first.jobs[-1].id)
    second = store.list_jobs(JobFilter(limit=3, cursor=first.cursor))
    assert ids(second.jobs) == ids(made)[:3][::-1]


def test_a_full_last_page_has_no_cursor(store: Store) -> None:
    insert(store, new_job(), new_job())
    page = store.list_jobs(JobFilter(limit=2))
    assert (len(page.jobs), page.cursor) == (2, None)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1:2:3", "zz:zz", "nan:1", "é"])
def test_a_cursor_of_another_make_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadInput) as caught:
        store.list_jobs(JobFilter(cursor=cursor))
    assert caught.value.field == "cursor"


# Cancel


@pytest.mark.parametrize("run_at", [None, NOW + 60])
def test_a_job_that_waits_is_cancelled_at_once(store: Store, run_at: float | None) -> None:
    job = insert_one(store, run_at=run_at)
    ended = present(store.cancel(job.id, NOW + 1))
    assert ended.state == JobState.CANCELLED
    assert ended.times == job.times | {"cancelled": NOW + 1}
    assert store.get(job.id) == ended
    assert types(store.events(job.id, 0))[-1] == "cancelled"
    assert claim(store, 5, NOW + 2) == []
    assert store.stage_due(NOW + 99) == 0


def final_jobs(store: Store) -> list[Job]:
    """One job in each final state."""
    done, failed, cancelled = insert(store, *[new_job() for _ in range(3)])
    claimed = {job.id: job for job in claim(store, 2)}
    store.complete(lease(claimed[done.id]), [], {}, NOW)
    store.fail(lease(claimed[failed.id]), ERROR, {}, NOW, None)
    store.cancel(cancelled.id, NOW)
    return [fetch(store, job) for job in (done, failed, cancelled)]


def test_a_final_job_stays_as_it_is(store: Store) -> None:
    for job in final_jobs(store):
        events = store.events(job.id, 0)
        assert store.cancel(job.id, NOW + 1) == job
        assert store.set_priority(job.id, 7, NOW + 1) == job
        assert store.get(job.id) == job
        assert store.events(job.id, 0) == events


def test_a_second_cancel_changes_nothing(store: Store) -> None:
    job = running(store)
    marked = store.cancel(job.id, NOW + 1)
    assert store.cancel(job.id, NOW + 2) == marked


# Priority


@pytest.mark.parametrize("run_at", [None, NOW + 60])
def test_the_priority_of_a_job_that_waits_can_change(store: Store, run_at: float | None) -> None:
    job = insert_one(store, run_at=run_at)
    assert present(store.set_priority(job.id, 7, NOW)).priority == 7
    assert fetch(store, job).priority == 7


def test_a_changed_priority_counts_for_the_next_claim(store: Store) -> None:
    first, second, third = insert(store, *[new_job() for _ in range(3)])
    store.set_priority(third.id, 1, NOW)
    store.set_priority(first.id, -1, NOW)
    assert ids(claim(store, 3)) == [third.id, second.id, first.id]


def test_a_priority_changed_while_scheduled_counts_when_it_is_due(store: Store) -> None:
    later = insert_one(store, run_at=NOW + 5)
    now = insert_one(store)
    store.set_priority(later.id, 1, NOW)
    store.stage_due(NOW + 5)
    assert ids(claim(store, 2, NOW + 5)) == [later.id, now.id]


def test_the_priority_of_a_running_job_stays(store: Store) -> None:
    job = running(store)
    assert present(store.set_priority(job.id, 7, NOW)).priority == 0
    assert fetch(store, job) == job


# Delete


def test_a_deleted_job_is_forgotten_with_its_artifacts_and_events(store: Store) -> None:
    job = running(store)
    made = [artifact(job), artifact(job)]
    store.complete(lease(job), made, {}, NOW)
    assert store.delete(job.id) == made
    assert store.get(job.id) is None
    assert store.events(job.id, 0) == []
    assert [store.artifact(one.id) for one in made] == [None, None]
    assert listed(store) == []
    assert store.delete(job.id) == []


def test_each_final_job_can_be_deleted(store: Store) -> None:
    for job in final_jobs(store):
        store.delete(job.id)
        assert store.get(job.id) is None


def test_a_live_job_cannot_be_deleted(store: Store) -> None:
    scheduled, _ = insert(store, new_job(run_at=NOW + 5), new_job())
    run = claim_one(store)
    queued = insert_one(store)
    for job in (scheduled, queued, run):
        before = fetch(store, job)
        with pytest.raises(JobNotFinal):
            store.delete(job.id)
        assert store.get(job.id) == before


def test_a_deleted_jobs_idempotency_key_is_free(store: Store) -> None:
    first = insert_one(store, idempotency_key="k", digest="d")
    store.cancel(first.id, NOW)
    store.delete(first.id)
    assert insert_one(store, idempotency_key="k", digest="other").state == JobState.QUEUED


# Position


def test_position_counts_who_goes_before_and_their_seconds(store: Store) -> None:
    jobs = insert(store, *[new_job(cost_s=cost) for cost in (2.0, 3.0, 0.5)])
    assert [store.position(job.id) for job in jobs] == [(0, 0.0), (1, 2.0), (2, 5.0)]


def test_position_follows_class_and_rank(store: Store) -> None:
    low = insert_one(store, tenant="a", cost_s=1.0, priority=LOW)
    slow = insert_one(store, tenant="b", cost_s=9.0)
    quick = insert_one(store, tenant="c", cost_s=0.5)
    high = insert_one(store, tenant="d", cost_s=4.0, priority=HIGH, model="m2")
    order = [high, quick, slow, low]
    assert [store.position(job.id) for job in order] == [(0, 0.0), (1, 4.0), (2, 4.5), (3, 13.5)]


def test_position_of_equals_is_the_order_they_came(store: Store) -> None:
    jobs = insert(store, *[new_job(f"t{number}") for number in range(12)])
    assert [store.position(job.id) for job in jobs] == [(number, float(number)) for number in range(12)]


def test_positions_are_those_of_each_alone_in_the_order_they_were_asked_for(store: Store) -> None:
    jobs = insert(store, *[new_job(f"t{number % 3}", cost_s=1.0 + number % 4) for number in range(12)])
    jobs += insert(store, new_job("t9", cost_s=2.5, priority=HIGH), new_job("t8", cost_s=7.0, priority=LOW))
    run = claim_one(store)
    asked = [job.id for job in (*reversed(jobs), jobs[3], run)] + ["nobody"]
    assert store.positions(asked) == [store.position(name) for name in asked]
    assert store.positions([]) == []
    places = [place for place in store.positions([job.id for job in jobs]) if place is not None]
    assert sorted(place[0] for place in places) == [*range(len(jobs) - 1)]
    assert max(places)[1] == store.queue().ahead_s - 7.0


def test_positions_are_right_wherever_they_are_counted_from(store: Store) -> None:
    """On Redis from the nearer end, or from the one found before."""
    jobs = insert(store, *[new_job(cost_s=1.0 + number % 7) for number in range(40)])
    ahead = [(number, sum(1.0 + each % 7 for each in range(number))) for number in range(40)]
    for numbers in ([0], [39], [5, 35], [38, 2, 20, 21], [*range(40)]):
        assert store.positions([jobs[number].id for number in numbers]) == [ahead[number] for number in numbers]


def test_only_a_queued_job_has_a_position(store: Store) -> None:
    scheduled, _ = insert(store, new_job(run_at=NOW + 5), new_job())
    run = claim_one(store)
    assert [store.position(scheduled.id), store.position(run.id)] == [None, None]
    assert [store.position(job.id) for job in final_jobs(store)] == [None] * 3


# Artifacts


def test_an_upload_is_kept_until_it_is_deleted(store: Store) -> None:
    upload = artifact(width=None, tenant="é")
    store.add_artifact(upload)
    assert store.artifact(upload.id) == upload
    assert store.delete_artifact(upload.id) == upload
    assert store.artifact(upload.id) is None


def test_a_deleted_output_is_no_longer_the_jobs(store: Store) -> None:
    job = running(store)
    first, second = artifact(job), artifact(job)
    store.complete(lease(job), [first, second], {}, NOW)
    assert store.delete_artifact(first.id) == first
    assert fetch(store, job).outputs == (second,)

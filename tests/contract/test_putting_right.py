"""What the keeper does: rescue, release of the dead, expiry, pruning, who keeps; and clocks that jump."""

from __future__ import annotations

from dataclasses import replace

import pytest

from darkroom.core import Job, JobState
from darkroom.jobs.store import Store
from tests.contract.making import (
    DAY_S,
    ERROR,
    LEASE_S,
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
    report,
    running,
    types,
)

GONE = NOW + LEASE_S + 1  # when a lease given at NOW has run out


# Rescue, and workers known to be dead


def test_a_lease_that_holds_is_left(store: Store) -> None:
    job = running(store)
    assert store.rescue(NOW + LEASE_S - 1) == []
    assert fetch(store, job) == job


def test_a_job_whose_lease_ran_out_is_queued_again_at_its_rank(store: Store) -> None:
    job = running(store)
    insert_one(store, NOW + 1)
    assert store.rescue(GONE) == [job.id]
    back = fetch(store, job)
    assert (back.state, back.rank, back.worker, back.lease_until) == (JobState.QUEUED, job.rank, None, None)
    assert back.times["queued"] == GONE
    event = store.events(job.id, 0)[-1]
    assert (event.type, event.at, event.data) == ("requeued", GONE, {"reason": "lease_lost"})
    assert store.rescue(GONE) == []
    assert claim_one(store, GONE).id == job.id


def test_a_death_alone_is_charged(store: Store) -> None:
    job = running(store, max_attempts=3)
    assert store.release_worker("w", "killed", NOW + 1) == [job.id]
    back = fetch(store, job)
    assert (back.state, back.attempt, back.is_suspect) == (JobState.QUEUED, 1, False)
    assert [error["code"] for error in back.errors] == ["worker_died"]
    assert back.errors[0]["message"]
    assert back.error is None
    event = store.events(job.id, 0)[-1]
    assert (event.type, event.data) == ("requeued", {"reason": "killed"})
    assert claim_one(store, NOW + 1).attempt == 2


@pytest.mark.parametrize("is_known", [True, False])
def test_deaths_alone_end_the_job_when_no_attempt_is_left(store: Store, is_known: bool) -> None:
    insert_one(store, max_attempts=2)
    for turn in range(2):
        now = NOW + 100 * turn
        job = claim_one(store, now)
        gone = store.release_worker("w", "killed", now) if is_known else store.rescue(now + LEASE_S + 1)
        assert gone == [job.id]
    ended = fetch(store, job)
    assert (ended.state, ended.attempt) == (JobState.FAILED, 2)
    assert [error["code"] for error in ended.errors] == ["worker_died"] * 2
    assert ended.error == ended.errors[-1]
    end = store.events(job.id, 0)[-1]
    assert (end.type, end.data) == ("failed", {"error": ended.error})
    assert claim(store, 5, NOW + 999) == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_death_in_company_is_charged_to_none(store: Store, is_known: bool) -> None:
    insert(store, *[new_job(max_attempts=1) for _ in range(3)])
    jobs = claim(store, 3)
    gone = store.release_worker("w", "killed", GONE) if is_known else store.rescue(GONE)
    assert sorted(gone) == sorted(ids(jobs))
    for job in jobs:
        back = fetch(store, job)
        assert (back.state, back.attempt, back.is_suspect, back.errors) == (JobState.QUEUED, 0, True, ())
        assert back.rank == job.rank


@pytest.mark.parametrize("count", [1, 3])
def test_what_a_lost_forwarder_held_is_charged_with_nothing(store: Store, count: int) -> None:
    insert(store, *[new_job(max_attempts=1) for _ in range(count)])
    jobs = claim(store, count)
    cancelled = jobs[1:2]
    for job in cancelled:
        store.cancel(job.id, NOW)
    store.heartbeat(report("w", facts={"kind": "forwarder"}), [lease(job) for job in jobs], NOW)
    assert sorted(store.rescue(GONE)) == sorted(ids(jobs))
    assert [fetch(store, job).state for job in cancelled] == [JobState.CANCELLED] * len(cancelled)
    for job in (jobs[0], *jobs[2:]):
        back = fetch(store, job)
        assert (back.state, back.attempt, back.is_suspect, back.errors) == (JobState.QUEUED, 0, False, ())


@pytest.mark.parametrize("is_known", [True, False])
def test_leases_that_run_out_one_after_another_are_one_death(store: Store, is_known: bool) -> None:
    insert(store, *[new_job(max_attempts=1) for _ in range(3)])
    first = claim(store, 2, NOW)
    (last,) = claim(store, 1, NOW + 20)
    assert sorted(store.rescue(GONE)) == sorted(ids(first))
    late = NOW + 20 + LEASE_S + 1
    assert (store.release_worker("w", "killed", late) if is_known else store.rescue(late)) == [last.id]
    back = fetch(store, last)
    assert (back.state, back.attempt, back.is_suspect, back.errors) == (JobState.QUEUED, 0, True, ())


@pytest.mark.parametrize("is_known", [True, False])
def test_a_worker_that_beats_again_lives_and_its_later_death_is_another(store: Store, is_known: bool) -> None:
    insert(store, *[new_job() for _ in range(2)])
    claim(store, 1, NOW)
    (left,) = claim(store, 1, NOW + 20)
    store.rescue(GONE)  # the other one: this one had company
    assert store.heartbeat(report("w"), [lease(left)], GONE) == []
    late = GONE + LEASE_S + 1
    assert (store.release_worker("w", "killed", late) if is_known else store.rescue(late)) == [left.id]
    assert [error["code"] for error in fetch(store, left).errors] == ["worker_died"]


def test_company_of_an_earlier_claim_does_not_count(store: Store) -> None:
    insert(store, *[new_job() for _ in range(2)])
    claim(store, 1, NOW)
    claim(store, 1, NOW + 20)
    store.rescue(GONE)
    store.rescue(NOW + 20 + LEASE_S + 1)  # both are suspects now
    alone = claim_one(store, NOW + 60)
    store.release_worker("w", "killed", NOW + 61)
    assert [error["code"] for error in fetch(store, alone).errors] == ["worker_died"]
    other = claim_one(store, NOW + 61, worker="w2")  # of the two, the one that was taken second before
    assert other.id == alone.id
    store.complete(lease(other), [], {}, NOW + 61)
    last = claim_one(store, NOW + 62)
    store.release_worker("w", "killed", NOW + 63)
    assert [error["code"] for error in fetch(store, last).errors] == ["worker_died"]


def test_an_ended_job_was_not_in_flight_at_the_death(store: Store) -> None:
    insert(store, new_job(), new_job())
    first, second = claim(store, 2)
    store.complete(lease(first), [], {}, NOW)
    store.release_worker("w", "killed", NOW)
    assert (fetch(store, second).attempt, fetch(store, second).is_suspect) == (1, False)


def test_a_dead_workers_neighbours_keep_their_jobs(store: Store) -> None:
    insert(store, new_job(), new_job())
    (mine,) = claim(store, 1)
    (other,) = claim(store, 1, worker="w2")
    assert store.release_worker("w", "killed", NOW) == [mine.id]
    assert fetch(store, other) == other
    assert store.release_worker("nobody", "killed", NOW) == []


def test_a_dead_workers_report_is_forgotten(store: Store) -> None:
    store.heartbeat(report("w"), [], NOW)
    store.heartbeat(report("w2"), [], NOW)
    store.release_worker("w", "killed", NOW)
    assert [one.id for one in store.workers(0)] == ["w2"]


def test_of_a_worker_that_stopped_by_plan_the_goodbye_stays(store: Store) -> None:
    store.heartbeat(report("w"), [], NOW)
    store.heartbeat(replace(report("w"), state="stopped"), [], NOW + 1)
    assert store.release_worker("w", "its worker ended", NOW + 1) == []
    assert [(one.id, one.state) for one in store.workers(NOW)] == [("w", "stopped")]
    store.heartbeat(report("w"), [], NOW + 2)  # another came under its name, and dies
    store.release_worker("w", "killed", NOW + 2)
    assert store.workers(NOW) == []


# Deadlines


def test_expired_jobs_fail_with_their_reason(store: Store) -> None:
    queued, scheduled, later, never = insert(
        store,
        new_job(deadline_at=NOW + 5),
        new_job(deadline_at=NOW + 5, run_at=NOW + 9),
        new_job(deadline_at=NOW + 7),
        new_job(),
    )
    assert store.expire(NOW + 4) == []
    assert sorted(store.expire(NOW + 6)) == sorted([queued.id, scheduled.id])
    assert store.expire(NOW + 6) == []
    for job in (queued, scheduled):
        ended = fetch(store, job)
        assert ended.state == JobState.FAILED
        assert ended.error is not None
        assert ended.error["code"] == "deadline_exceeded"
        assert ended.error["message"]
        assert ended.times["failed"] == NOW + 6
        end = store.events(job.id, 0)[-1]
        assert (end.type, end.data) == ("failed", {"error": ended.error})
    assert [fetch(store, job).state for job in (later, never)] == [JobState.QUEUED] * 2


def test_a_running_job_past_its_deadline_is_its_workers_to_end(store: Store) -> None:
    job = running(store, deadline_at=NOW + 5)
    assert store.expire(NOW + 6) == []
    store.rescue(GONE)
    assert claim(store, 5, GONE) == []
    assert store.expire(GONE) == [job.id]


# Retention


def end_one(store: Store, now: float, **fields: object) -> Job:
    """A job that succeeded at that time with one artifact."""
    job = running(store, now, **fields)
    return store.complete(lease(job), [artifact(job, now)], {}, now)


def test_prune_forgets_jobs_by_when_they_ended(store: Store) -> None:
    old, new = end_one(store, NOW), end_one(store, NOW + 10)
    assert store.prune(NOW + 5, 0, NOW + 20) == list(old.outputs)
    assert (store.get(old.id), store.events(old.id, 0), store.artifact(old.outputs[0].id)) == (None, [], None)
    assert store.get(new.id) == new
    assert store.artifact(new.outputs[0].id) is not None
    assert types(store.events(new.id, 0))[-1] == "succeeded"


def test_prune_forgets_jobs_that_failed_or_were_cancelled(store: Store) -> None:
    failed = running(store)
    store.fail(lease(failed), ERROR, {}, NOW, None)
    cancelled = insert_one(store)
    store.cancel(cancelled.id, NOW)
    store.prune(NOW + 1, 0, NOW + 1)
    assert (store.get(failed.id), store.get(cancelled.id)) == (None, None)


def test_prune_leaves_live_jobs_however_old(store: Store) -> None:
    scheduled, _ = insert(store, new_job(run_at=NOW + 9 * DAY_S), new_job())
    run = claim_one(store)
    queued = insert_one(store)
    assert store.prune(NOW + 5 * DAY_S, NOW + 5 * DAY_S, NOW + 5 * DAY_S) == []
    assert [fetch(store, job).state.value for job in (scheduled, run, queued)] == ["scheduled", "running", "queued"]
    assert types(store.events(run.id, 0)) == ["queued", "started"]


def test_prune_forgets_uploads_by_when_they_came(store: Store) -> None:
    old, new = artifact(at=NOW), artifact(at=NOW + 10)
    store.add_artifact(old)
    store.add_artifact(new)
    assert store.prune(0, NOW + 5, NOW + 20) == [old]
    assert (store.artifact(old.id), store.artifact(new.id)) == (None, new)


def test_prune_leaves_outputs_to_their_jobs(store: Store) -> None:
    job = end_one(store, NOW)
    assert store.prune(0, NOW + DAY_S, NOW + DAY_S) == []
    assert fetch(store, job).outputs == job.outputs


def test_an_upload_that_a_live_job_needs_stays(store: Store) -> None:
    uploads = [artifact(at=NOW) for _ in range(4)]
    for upload in uploads:
        store.add_artifact(upload)
    image, mask, control, spare = uploads
    insert_one(store, input={"prompt": "x", "image": image.id, "more": {"deep": [1, mask.id]}}, run_at=NOW + 9 * DAY_S)
    claimed = running(store, input={"control_image": control.id})
    assert store.prune(0, NOW + DAY_S, NOW + DAY_S) == [spare]
    store.complete(lease(claimed), [], {}, NOW)
    assert store.prune(0, NOW + DAY_S, NOW + DAY_S) == [control]


def test_prune_leaves_keys_that_still_count(store: Store) -> None:
    first = insert_one(store, idempotency_key="k", digest="d")
    store.prune(0, 0, NOW + DAY_S - 1)
    assert insert_one(store, NOW + DAY_S - 1, idempotency_key="k", digest="d").id == first.id


def test_prune_forgets_more_than_once_over(store: Store) -> None:
    jobs = insert(store, *[new_job(deadline_at=NOW) for _ in range(1100)])
    ended = [len(store.expire(NOW)) for _ in range(3)]
    assert ended == [1000, 100, 0]
    left = []
    for _ in range(3):
        store.prune(NOW + 1, 0, NOW + 1)
        left.append(sum(store.get(job.id) is not None for job in jobs))
    assert left[0] >= 100  # at most FETCH_LIMIT at once
    assert left[-1] == 0


# Who keeps


def test_only_one_keeps_the_store(store: Store) -> None:
    assert store.lead("a", NOW, 10.0)
    assert not store.lead("b", NOW + 9, 10.0)
    assert store.lead("a", NOW + 9, 10.0)
    assert not store.lead("b", NOW + 18, 10.0)


def test_who_stops_asking_is_followed(store: Store) -> None:
    store.lead("a", NOW, 10.0)
    assert store.lead("b", NOW + 11, 10.0)
    assert not store.lead("a", NOW + 12, 10.0)


# Clocks that jump


def test_after_a_jump_forwards_the_old_holder_is_fenced(store: Store) -> None:
    old = running(store)
    store.rescue(NOW + DAY_S)
    heir = claim_one(store, NOW + DAY_S, worker="w2")
    assert store.heartbeat(report(), [lease(old)], NOW + DAY_S) == [lease(old)]
    assert store.complete(lease(heir), [], {}, NOW + DAY_S).state == JobState.SUCCEEDED


def test_after_a_jump_backwards_a_dead_workers_job_still_returns(store: Store) -> None:
    job = running(store)
    back = NOW - DAY_S
    assert store.rescue(back) == []
    assert fetch(store, job).lease_until == back + LEASE_S
    assert store.rescue(back + LEASE_S + 1) == [job.id]


def test_clocks_a_little_apart_leave_a_lease_as_it_is(store: Store) -> None:
    job = running(store)
    assert store.rescue(NOW - LEASE_S * 0.9) == []
    assert fetch(store, job) == job


def test_after_a_jump_backwards_somebody_keeps_the_store(store: Store) -> None:
    store.lead("a", NOW, 10.0)
    assert store.lead("b", NOW - DAY_S, 10.0)
    assert not store.lead("a", NOW - DAY_S, 10.0)


def test_a_job_is_claimed_and_ends_though_the_clock_went_back(store: Store) -> None:
    insert_one(store)
    job = claim_one(store, NOW - DAY_S)
    done = store.complete(lease(job), [], {}, NOW - 2 * DAY_S)
    assert done.times == {
        "created": NOW,
        "queued": NOW,
        "started": NOW - DAY_S,
        "succeeded": NOW - 2 * DAY_S,
    }

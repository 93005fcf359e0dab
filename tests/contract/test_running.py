"""A worker's verbs on what it runs: heartbeat, steps, ends, and that only the claim that holds a job writes on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from darkroom.core import Job, JobState, Lease
from darkroom.errors import LeaseLost
from darkroom.jobs.store import StepDone, Store
from tests.contract.making import (
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
    present,
    report,
    running,
    types,
)

Write = Callable[[Store, Lease], object]

WRITES: dict[str, Write] = {
    "report_step": lambda store, held: store.report_step(held, 2, 4, NOW, "data:image/jpeg;base64,xx"),
    "complete": lambda store, held: store.complete(held, [artifact()], {"device_s": 9.0}, NOW),
    "fail": lambda store, held: store.fail(held, ERROR, {"device_s": 9.0}, NOW, None),
    "retry": lambda store, held: store.fail(held, ERROR, {"device_s": 9.0}, NOW, NOW + 1),
    "confirm_cancelled": lambda store, held: store.confirm_cancelled(held, {"device_s": 9.0}, NOW),
}

# How a worker comes to hold a lease that no longer counts.
LOSSES: dict[str, Callable[[Store, Job], object]] = {
    "returned": lambda store, job: store.release([lease(job)], "drain", NOW),
    "claimed again": lambda store, job: (store.release([lease(job)], "drain", NOW), claim_one(store, worker="w2")),
    "claimed again by itself": lambda store, job: (store.release([lease(job)], "drain", NOW), claim_one(store)),
    "completed": lambda store, job: store.complete(lease(job), [], {}, NOW),
    "cancelled": lambda store, job: store.confirm_cancelled(lease(job), {}, NOW),
    "rescued": lambda store, job: store.rescue(NOW + LEASE_S + 1),
    "deleted": lambda store, job: (store.complete(lease(job), [], {}, NOW), store.delete(job.id)),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("verb", WRITES)
def test_a_lost_lease_writes_nothing(store: Store, verb: str, loss: str) -> None:
    job = running(store)
    LOSSES[loss](store, job)
    before, events = store.get(job.id), store.events(job.id, 0)
    with pytest.raises(LeaseLost):
        WRITES[verb](store, lease(job))
    assert store.get(job.id) == before
    assert store.events(job.id, 0) == events


@pytest.mark.parametrize("verb", WRITES)
def test_a_lease_on_no_job_writes_nothing(store: Store, verb: str) -> None:
    with pytest.raises(LeaseLost):
        WRITES[verb](store, Lease("nobody", 1))
    assert store.get("nobody") is None


def test_a_zombies_outputs_never_appear(store: Store) -> None:
    zombie = running(store)
    store.rescue(NOW + LEASE_S + 1)
    heir = claim_one(store, worker="w2")
    mine = artifact(heir)
    store.complete(lease(heir), [mine], {}, NOW)
    late = artifact(zombie)
    with pytest.raises(LeaseLost):
        store.complete(lease(zombie), [late], {}, NOW)
    assert fetch(store, heir).outputs == (mine,)
    assert store.artifact(late.id) is None
    assert types(store.events(heir.id, 0)).count("succeeded") == 1


# Heartbeat


def test_a_heartbeat_extends_the_lease(store: Store) -> None:
    job = running(store)
    assert store.heartbeat(report(), [lease(job)], NOW + 20) == []
    assert fetch(store, job).lease_until == NOW + 20 + LEASE_S
    assert store.rescue(NOW + LEASE_S + 1) == []


def test_a_heartbeat_says_which_leases_are_lost(store: Store) -> None:
    insert(store, new_job(), new_job(), new_job())
    kept, lost, done = claim(store, 3)
    store.release([lease(lost)], "drain", NOW)
    store.complete(lease(done), [], {}, NOW)
    held = [lease(job) for job in (kept, lost, done)]
    assert store.heartbeat(report(), held, NOW + 1) == held[1:]
    assert fetch(store, kept).lease_until == NOW + 1 + LEASE_S
    assert fetch(store, lost).lease_until is None


def test_a_heartbeat_does_not_extend_another_claim(store: Store) -> None:
    old = running(store)
    store.release([lease(old)], "drain", NOW)
    heir = claim_one(store, worker="w2")
    assert store.heartbeat(report(), [lease(old)], NOW + 20) == [lease(old)]
    assert fetch(store, heir).lease_until == NOW + LEASE_S


def test_a_lease_that_ran_out_and_was_not_rescued_is_still_held(store: Store) -> None:
    job = running(store)
    assert store.heartbeat(report(), [lease(job)], NOW + 2 * LEASE_S) == []
    assert store.rescue(NOW + 2 * LEASE_S) == []


# Steps


def test_a_reported_step_is_seen_at_once(store: Store, another: Callable[[], Store]) -> None:
    job = running(store)
    store.report_step(lease(job), 3, 8, NOW + 1)
    seen = present(another().get(job.id))
    assert (seen.step, seen.steps, seen.progress) == (3, 8, 3 / 8)
    event = store.events(job.id, 0)[-1]
    assert (event.type, event.at, event.data) == ("progress", NOW + 1, {"step": 3, "steps": 8, "progress": 3 / 8})


def test_a_preview_follows_its_step(store: Store) -> None:
    job = running(store)
    store.report_step(lease(job), 3, 8, NOW + 1, "data:image/jpeg;base64,xx")
    progress, preview = store.events(job.id, 0)[-2:]
    assert progress.type == "progress"
    assert (preview.type, preview.data) == ("preview", {"step": 3, "image": "data:image/jpeg;base64,xx"})


def test_steps_of_several_claims_are_told_at_once_and_lost_leases_are_named(store: Store) -> None:
    jobs = [running(store) for _ in range(3)]
    gone = Lease(jobs[1].id, jobs[1].fence + 1)
    nobody = Lease("nobody", 1)
    done = [
        StepDone(lease(jobs[0]), 1, 4, NOW + 1, "data:image/jpeg;base64,xx"),
        StepDone(gone, 2, 4, NOW + 1, "data:image/jpeg;base64,yy"),
        StepDone(nobody, 2, 4, NOW + 1),
        StepDone(lease(jobs[2]), 3, 4, NOW + 2),
    ]
    assert store.report_steps(done) == [gone, nobody]
    assert store.report_steps([]) == []
    assert [fetch(store, job).step for job in jobs] == [1, 0, 3]
    told = [[(e.type, e.at) for e in store.events(job.id, 0) if e.type in ("progress", "preview")] for job in jobs]
    assert told == [[("progress", NOW + 1), ("preview", NOW + 1)], [], [("progress", NOW + 2)]]


def test_a_step_keeps_the_lease_and_the_fence(store: Store) -> None:
    job = running(store)
    store.report_step(lease(job), 1, 4, NOW + 10)
    assert fetch(store, job).lease_until == job.lease_until
    store.complete(lease(job), [], {}, NOW + 11)


def test_a_new_attempt_starts_at_step_none(store: Store) -> None:
    job = running(store)
    store.report_step(lease(job), 3, 4, NOW)
    store.release([lease(job)], "drain", NOW)
    assert fetch(store, job).step == 0
    again = claim_one(store)
    assert (again.step, fetch(store, job).step) == (0, 0)
    store.report_step(lease(again), 1, 4, NOW)
    assert fetch(store, job).step == 1


# Ends


def test_complete_ends_the_job_with_its_artifacts(store: Store) -> None:
    job = running(store)
    store.report_step(lease(job), 4, 4, NOW)
    made = [artifact(job, width=64, height=48, seed=7), artifact(job, width=64, height=48, seed=2**63 - 1)]
    done = store.complete(lease(job), made, {"device_s": 1.5, "queued_s": 0.25}, NOW + 2)
    assert done.state == JobState.SUCCEEDED
    assert done.outputs == tuple(made)
    assert done.metrics == {"device_s": 1.5, "queued_s": 0.25}
    assert done.times == {"created": NOW, "queued": NOW, "started": NOW, "succeeded": NOW + 2}
    assert (done.progress, done.step, done.error) == (1.0, 4, None)
    assert (done.lease_until, done.worker) == (None, "w")  # who made it stays to be read
    assert store.get(job.id) == done
    assert [store.artifact(one.id) for one in made] == made


def test_complete_says_so_in_events(store: Store) -> None:
    job = running(store)
    made = artifact(job, width=64, height=48, seed=7)
    store.complete(lease(job), [made], {}, NOW + 2)
    output, end = store.events(job.id, 0)[-2:]
    shown = {"artifact_id": made.id, "content_type": "image/png", "width": 64, "height": 48, "seed": 7}
    assert (output.type, output.data, end.type, end.at) == ("output", shown, "succeeded", NOW + 2)


def test_fail_ends_the_job_with_its_error(store: Store) -> None:
    job = running(store)
    failed = store.fail(lease(job), ERROR, {"device_s": 1.5}, NOW + 2, None)
    assert (failed.state, failed.error, failed.errors) == (JobState.FAILED, ERROR, (ERROR,))
    assert failed.metrics == {"device_s": 1.5}
    assert failed.times["failed"] == NOW + 2
    assert store.get(job.id) == failed
    event = store.events(job.id, 0)[-1]
    assert (event.type, event.data) == ("failed", {"error": ERROR})


def test_fail_with_a_time_schedules_the_next_attempt(store: Store) -> None:
    job = running(store)
    retried = store.fail(lease(job), ERROR, {}, NOW + 2, NOW + 9)
    assert (retried.state, retried.run_at, retried.attempt) == (JobState.SCHEDULED, NOW + 9, 1)
    assert (retried.errors, retried.error) == ((ERROR,), None)
    assert (retried.worker, retried.lease_until) == (None, None)
    assert retried.times["scheduled"] == NOW + 2
    event = store.events(job.id, 0)[-1]
    assert (event.type, event.data) == ("requeued", {"reason": "not_finite"})
    assert store.stage_due(NOW + 8) == 0
    assert store.stage_due(NOW + 9) == 1
    assert claim_one(store, NOW + 9).attempt == 2


def test_fail_with_a_time_but_no_attempt_left_ends_the_job(store: Store) -> None:
    insert_one(store, max_attempts=2)
    job = claim_one(store)
    store.fail(lease(job), ERROR, {}, NOW, NOW)
    store.stage_due(NOW)
    other = {"code": "internal", "message": "again"}
    failed = store.fail(lease(claim_one(store)), other, {}, NOW, NOW)
    assert (failed.state, failed.errors, failed.error) == (JobState.FAILED, (ERROR, other), other)


def test_release_hands_back_at_the_old_rank_uncharged(store: Store) -> None:
    insert(store, *[new_job(max_attempts=1) for _ in range(3)])
    first, second = claim(store, 2, NOW + 1)
    assert store.release([lease(first), lease(second)], "drain", NOW + 2) == 2
    back = fetch(store, first)
    assert (back.state, back.rank, back.attempt, back.worker) == (JobState.QUEUED, first.rank, 0, None)
    assert (back.lease_until, back.is_suspect, back.errors) == (None, False, ())
    assert back.times == {"created": NOW, "queued": NOW + 2, "started": NOW + 1}
    event = store.events(first.id, 0)[-1]
    assert (event.type, event.data) == ("requeued", {"reason": "drain"})
    assert ids(claim(store, 2, NOW + 2)) == [first.id, second.id]


def test_release_passes_over_lost_leases(store: Store) -> None:
    insert(store, new_job(), new_job())
    kept, lost = claim(store, 2)
    store.complete(lease(lost), [], {}, NOW)
    assert store.release([lease(lost), lease(kept), Lease("nobody", 1)], "drain", NOW) == 1
    assert fetch(store, lost).state == JobState.SUCCEEDED
    assert store.release([], "drain", NOW) == 0


# Cancel of what runs


def test_a_running_job_is_marked_and_its_worker_told(store: Store, another: Callable[[], Store]) -> None:
    insert(store, new_job(), new_job())
    first, _ = claim(store, 2)
    assert store.cancelling("w") == []
    marked = present(another().cancel(first.id, NOW + 1))
    assert (marked.state, marked.is_cancelling) == (JobState.RUNNING, True)
    assert store.cancelling("w") == [first.id]
    assert store.cancelling("w2") == []


def test_confirm_cancelled_ends_the_job(store: Store) -> None:
    job = running(store)
    store.cancel(job.id, NOW + 1)
    ended = store.confirm_cancelled(lease(job), {"device_s": 0.5}, NOW + 2)
    assert (ended.state, ended.metrics, ended.error) == (JobState.CANCELLED, {"device_s": 0.5}, None)
    assert not ended.is_cancelling
    assert ended.times["cancelled"] == NOW + 2
    assert store.cancelling("w") == []
    assert types(store.events(job.id, 0)) == ["queued", "started", "cancelled"]


def test_a_marked_job_that_finished_first_has_succeeded(store: Store) -> None:
    job = running(store)
    store.cancel(job.id, NOW)
    assert store.complete(lease(job), [], {}, NOW).state == JobState.SUCCEEDED


def test_a_marked_job_that_failed_has_failed(store: Store) -> None:
    job = running(store)
    store.cancel(job.id, NOW)
    assert store.fail(lease(job), ERROR, {}, NOW, None).state == JobState.FAILED


GOINGS_BACK: dict[str, Callable[[Store, Job], object]] = {
    "release": lambda store, job: store.release([lease(job)], "drain", NOW + 1),
    "retry": lambda store, job: store.fail(lease(job), ERROR, {}, NOW + 1, NOW + 2),
    "rescue": lambda store, job: store.rescue(NOW + LEASE_S + 1),
    "release_worker": lambda store, job: store.release_worker("w", "killed", NOW + 1),
}


@pytest.mark.parametrize("way", GOINGS_BACK)
def test_a_marked_job_does_not_go_back_to_the_queue(store: Store, way: str) -> None:
    job = running(store)
    store.cancel(job.id, NOW)
    GOINGS_BACK[way](store, job)
    assert fetch(store, job).state == JobState.CANCELLED
    assert types(store.events(job.id, 0))[-1] == "cancelled"
    assert store.queue().queued + store.queue().scheduled == 0


# Warnings


def test_warnings_are_added_to_those_that_there_are_each_once(store: Store, another: Callable[[], Store]) -> None:
    job = running(store, warnings=("first",))
    said = ["the model does not see: \"één\\ 'x'\"", "first", "third", "third"]
    warned = store.add_warnings(lease(job), said)
    assert warned.warnings == ("first", said[0], "third")
    assert another().add_warnings(lease(job), said).warnings == warned.warnings
    assert fetch(store, job) == replace(job, warnings=warned.warnings)
    assert store.complete(lease(job), [], {}, NOW).warnings == warned.warnings


def test_a_job_without_warnings_has_none_after_none_were_added(store: Store) -> None:
    job = running(store)
    assert store.add_warnings(lease(job), []).warnings == ()
    assert store.add_warnings(lease(job), ["late"]).warnings == ("late",)


def test_who_lost_the_lease_adds_no_warnings(store: Store) -> None:
    job = running(store)
    store.release([lease(job)], "drain", NOW)
    with pytest.raises(LeaseLost):
        store.add_warnings(lease(job), ["late"])
    assert fetch(store, job).warnings == ()

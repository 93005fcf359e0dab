"""How much room artifacts take, and making some."""

from __future__ import annotations

import pytest

from darkroom.core import Artifact, Job
from darkroom.jobs.ledger import UPLOAD_BYTES
from darkroom.jobs.store import Store
from tests.contract.making import NOW, artifact, claimant, fetch, insert_one, lease, new_job, running


def made(store: Store, at: float, *sizes: int, **fields: object) -> Job:
    """A job that succeeded at that time with artifacts of these sizes."""
    job = running(store, NOW, **fields)
    return store.complete(lease(job), [artifact(job, size=size) for size in sizes], {}, at)


def upload(store: Store, size: int, at: float = NOW, **fields: object) -> Artifact:
    """An upload of that size."""
    one = artifact(at=at, size=size, **fields)
    store.add_artifact(one)
    return one


def test_nothing_takes_no_room(store: Store) -> None:
    assert store.stored_bytes() == 0


def test_outputs_and_uploads_take_room(store: Store) -> None:
    made(store, NOW, 100, 20)
    upload(store, 3)
    made(store, NOW, 4000)
    assert store.stored_bytes() == 4123


def test_a_size_past_32_bits_is_counted(store: Store) -> None:
    upload(store, 5_000_000_000)
    upload(store, 1)
    assert store.stored_bytes() == 5_000_000_001


def test_what_goes_takes_no_room(store: Store) -> None:
    deleted, pruned, left = (made(store, NOW + turn, 10**turn) for turn in range(3))
    one, old = upload(store, 1000), upload(store, 10_000)
    store.delete(deleted.id)
    assert store.stored_bytes() == 11_110
    store.prune(NOW + 2, 0, NOW + 2)
    assert store.get(pruned.id) is None
    assert store.stored_bytes() == 11_100
    store.delete_artifact(one.id)
    store.delete_artifact(one.id)
    assert store.stored_bytes() == 10_100
    store.delete_artifact(left.outputs[0].id)
    assert store.stored_bytes() == 10_000
    assert store.prune(0, NOW + 1, NOW + 2) == [old]
    assert store.stored_bytes() == 0
    store.delete(left.id)
    assert store.stored_bytes() == 0


def test_a_completion_that_is_refused_takes_no_room(store: Store) -> None:
    job = running(store)
    store.complete(lease(job), [artifact(job, size=5)], {}, NOW)
    with pytest.raises(Exception, match="no longer"):
        store.complete(lease(job), [artifact(job, size=7)], {}, NOW)
    assert store.stored_bytes() == 5


def test_the_jobs_that_ended_first_make_room(store: Store) -> None:
    second, first, third = (made(store, NOW + at, 100, 1) for at in (2, 1, 3))
    assert store.prune_bytes(303, NOW + 9) == []
    assert store.prune_bytes(250, NOW + 9) == list(first.outputs)
    assert (store.get(first.id), store.events(first.id, 0)) == (None, [])
    assert (fetch(store, second), fetch(store, third)) == (second, third)
    assert store.stored_bytes() == 202
    assert store.prune_bytes(0, NOW + 9) == [*second.outputs, *third.outputs]
    assert store.stored_bytes() == 0
    assert store.prune_bytes(0, NOW + 9) == []


def test_no_more_jobs_go_than_must(store: Store) -> None:
    jobs = [made(store, NOW + turn, 10) for turn in range(5)]
    assert store.prune_bytes(20, NOW + 9) == [job.outputs[0] for job in jobs[:3]]
    assert store.prune_bytes(20, NOW + 9) == []


def test_uploads_and_live_jobs_stay_whatever_they_take(store: Store) -> None:
    old = made(store, NOW, 10)
    picture = upload(store, 1000)
    waiting = insert_one(store, input={"image": picture.id})
    assert store.prune_bytes(500, NOW + 9) == list(old.outputs)
    assert store.artifact(picture.id) == picture
    assert fetch(store, waiting) == waiting
    assert store.stored_bytes() == 1000


def test_old_uploads_that_nobody_needs_go_before_any_job(store: Store) -> None:
    old = made(store, NOW, 10)
    needed, second, first, fresh = (upload(store, 100, at) for at in (NOW, NOW + 2, NOW + 1, NOW + 3600))
    insert_one(store, input={"image": needed.id})
    now = NOW + 3600 + 3
    assert store.prune_bytes(400, now) == [first]
    assert store.prune_bytes(310, now) == []
    assert store.prune_bytes(150, now) == [second, *old.outputs]
    assert store.prune_bytes(0, now) == []
    assert (store.artifact(needed.id), store.artifact(fresh.id)) == (needed, fresh)
    assert store.stored_bytes() == 200


def test_what_a_tenant_has_uploaded_is_summed_and_small_ones_count_as_a_block(store: Store) -> None:
    job = running(store)
    store.complete(lease(job), [artifact(job, size=10**6)], {}, NOW)
    assert store.uploaded_bytes("t") == 0
    one, other = upload(store, 1), upload(store, 5_000_000_000, tenant="ü")
    upload(store, 5000, NOW + 9)
    assert (store.uploaded_bytes("t"), store.uploaded_bytes("ü")) == (UPLOAD_BYTES + 5000, 5_000_000_000)
    store.delete_artifact(one.id)
    store.delete_artifact(one.id)
    store.delete_artifact(job.id)
    assert store.uploaded_bytes("t") == 5000
    assert store.prune(0, NOW + 5, NOW + 9) == [other]
    assert (store.uploaded_bytes("t"), store.uploaded_bytes("ü")) == (5000, 0)
    store.prune_bytes(0, NOW + 2 * 3600)
    assert store.uploaded_bytes("t") == 0


def test_what_tenants_whose_names_begin_alike_have_uploaded_is_summed(store: Store) -> None:
    for tenant in ("guest-a-1", "guest-a-2", "guest-ab-1", "guest-", "guess", "guestü", "g%"):
        upload(store, 5000, tenant=tenant)
    sums = {prefix: store.uploaded_bytes(prefix, is_prefix=True) for prefix in ("guest-a-", "guest-", "guest-b", "g%")}
    assert sums == {"guest-a-": 10_000, "guest-": 20_000, "guest-b": 0, "g%": 5000}
    assert store.uploaded_bytes("guest-") == 5000


def test_jobs_that_hold_no_bytes_make_no_room_and_stay(store: Store) -> None:
    cancelled = insert_one(store)
    store.cancel(cancelled.id, NOW)
    first, emptied, second = (made(store, NOW + turn, 10) for turn in range(1, 4))
    store.delete_artifact(emptied.outputs[0].id)
    assert store.prune_bytes(0, NOW + 9) == [*first.outputs, *second.outputs]
    assert store.get(cancelled.id) is not None
    assert store.get(emptied.id) is not None


def test_a_job_that_makes_room_takes_its_key_along(store: Store) -> None:
    first = made(store, NOW, 10, idempotency_key="k", digest="d")
    store.prune_bytes(0, NOW + 9)
    assert insert_one(store, idempotency_key="k", digest="other").id != first.id


@pytest.mark.slow
def test_a_thousand_jobs_at_once_make_room(store: Store) -> None:
    jobs = [new_job() for _ in range(1050)]
    store.insert(jobs, NOW)
    for job in store.claim(claimant(), 1000, NOW) + store.claim(claimant(), 1000, NOW):
        store.complete(lease(job), [artifact(job, size=1)], {}, NOW)
    assert store.stored_bytes() == 1050
    gone = len(store.prune_bytes(0, NOW + 1))
    assert 900 <= gone <= 1000
    assert gone + len(store.prune_bytes(0, NOW + 1)) == 1050

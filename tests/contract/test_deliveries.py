"""Webhook calls that are owed: written with the transition, given out once at a time, kept with their attempts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from darkroom.core import Delivery, Job, WebhookSecret
from darkroom.jobs.ledger import ATTEMPTS_KEPT
from darkroom.jobs.store import Store
from tests.contract.making import ERROR, LEASE_S, NOW, artifact, claim_one, insert_one, lease, running

URL = "https://example.org/hook?a=b"
ALL = ("started", "succeeded", "failed", "cancelled")
HOLD_S = 30.0


def told(store: Store, job: Job) -> list[str]:
    """The events that the job's webhook is told of."""
    return [call.event for call in store.deliveries(job.id)]


def due(store: Store, now: float = NOW, limit: int = 100) -> list[Delivery]:
    """What is to be delivered."""
    return store.due_deliveries(now, limit, HOLD_S)


def one_due(store: Store, now: float = NOW) -> Delivery:
    """The only delivery that is due."""
    (call,) = due(store, now)
    return call


def attempt(status: int | None = 500, at: float = NOW) -> dict[str, Any]:
    """What was tried."""
    return {"at": at, "status": status, "error": "é\n" if status is None else None}


# What is owed


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ("succeeded", lambda store, job: store.complete(lease(job), [artifact(job)], {}, NOW + 1)),
        ("failed", lambda store, job: store.fail(lease(job), ERROR, {}, NOW + 1, None)),
        ("cancelled", lambda store, job: store.confirm_cancelled(lease(job), {}, NOW + 1)),
    ],
)
def test_an_end_owes_a_call(store: Store, state: str, end: Callable[[Store, Job], Job]) -> None:
    job = running(store, webhook=URL, tenant="ü")
    assert store.deliveries(job.id) == []
    end(store, job)
    (call,) = store.deliveries(job.id)
    assert (call.job_id, call.url, call.event, call.state) == (job.id, URL, state, "pending")
    assert call.tenant == "ü"
    assert (call.due_at, call.created_at, call.attempts) == (NOW + 1, NOW + 1, ())
    assert call.id


def test_a_job_without_a_webhook_owes_none(store: Store) -> None:
    job = running(store, webhook_events=ALL)
    store.complete(lease(job), [], {}, NOW)
    assert told(store, job) == []
    assert due(store) == []


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (ALL, ["started", "succeeded"]),
        (("started",), ["started"]),
        (("failed", "cancelled"), []),
        ((), []),
    ],
)
def test_only_events_that_were_asked_for_are_told(store: Store, events: tuple[str, ...], expected: list[str]) -> None:
    job = running(store, webhook=URL, webhook_events=events)
    assert job.webhook_events == events
    store.complete(lease(job), [], {}, NOW)
    assert told(store, job) == expected


@pytest.mark.parametrize("end", ["cancel", "expire", "die"])
def test_an_end_without_a_worker_owes_a_call(store: Store, end: str) -> None:
    job = insert_one(store, webhook=URL, deadline_at=NOW + 1, max_attempts=1)
    if end == "cancel":
        store.cancel(job.id, NOW)
    elif end == "expire":
        store.expire(NOW + 2)
    else:
        claim_one(store)
        store.rescue(NOW + LEASE_S + 1)
    assert told(store, job) == [{"cancel": "cancelled"}.get(end, "failed")]


def test_a_second_start_is_not_told_again(store: Store) -> None:
    job = running(store, webhook=URL, webhook_events=ALL)
    first = store.deliveries(job.id)
    store.release([lease(job)], "drain", NOW + 1)
    again = claim_one(store, NOW + 2)
    store.fail(lease(again), ERROR, {}, NOW + 3, NOW + 4)
    store.stage_due(NOW + 4)
    claim_one(store, NOW + 5)
    assert store.deliveries(job.id) == first
    assert [call.event for call in first] == ["started"]


def test_ids_are_of_one_call_each(store: Store) -> None:
    ids = []
    for _ in range(3):
        job = running(store, webhook=URL, webhook_events=ALL)
        store.complete(lease(job), [], {}, NOW)
        ids += [call.id for call in store.deliveries(job.id)]
    assert len(set(ids)) == 6


# Who makes them


def test_what_is_due_comes_the_earliest_first(store: Store) -> None:
    jobs = [insert_one(store, webhook=URL) for _ in range(3)]
    for job, at in zip(jobs, (NOW + 2, NOW, NOW + 1), strict=True):
        store.cancel(job.id, at)
    assert due(store, NOW - 1) == []
    assert [call.job_id for call in due(store, NOW + 1)] == [jobs[1].id, jobs[2].id]
    assert [call.job_id for call in due(store, NOW + 2)] == [jobs[0].id]


def test_what_is_due_is_given_out_up_to_the_limit(store: Store) -> None:
    for _ in range(5):
        store.cancel(insert_one(store, webhook=URL).id, NOW)
    given = [len(due(store, limit=2)) for _ in range(4)]
    assert given == [2, 2, 1, 0]


def test_a_call_is_held_for_who_makes_it(store: Store, another: Callable[[], Store]) -> None:
    store.cancel(insert_one(store, webhook=URL).id, NOW)
    call = one_due(store)
    assert due(another(), NOW + HOLD_S - 1) == []
    again = one_due(another(), NOW + HOLD_S)
    assert (again.id, again.state, again.attempts) == (call.id, "pending", ())


def test_concurrent_senders_share_what_is_due(store: Store, another: Callable[[], Store]) -> None:
    for _ in range(40):
        store.cancel(insert_one(store, webhook=URL).id, NOW)
    stores, start, got = [store, another(), another()], threading.Barrier(3), list[str]()

    def send(mine: Store) -> None:
        start.wait()
        while calls := due(mine, limit=3):
            got.extend(call.id for call in calls)

    threads = [threading.Thread(target=send, args=(mine,)) for mine in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 40


def test_a_call_that_arrived_is_over(store: Store) -> None:
    job = insert_one(store, webhook=URL)
    store.cancel(job.id, NOW)
    noted = store.note_delivery(one_due(store).id, attempt(204), None, is_delivered=True)
    assert noted is not None
    assert (noted.state, noted.attempts) == ("delivered", (attempt(204),))
    assert store.deliveries(job.id) == [noted]
    assert due(store, NOW + 10 * HOLD_S) == []


def test_a_call_that_failed_is_made_again_at_its_time(store: Store) -> None:
    job = insert_one(store, webhook=URL)
    store.cancel(job.id, NOW)
    name = one_due(store).id
    noted = store.note_delivery(name, attempt(None), NOW + 5, is_delivered=False)
    assert noted is not None
    assert (noted.state, noted.due_at, noted.attempts) == ("pending", NOW + 5, (attempt(None),))
    assert due(store, NOW + 4) == []
    assert one_due(store, NOW + 5).attempts == (attempt(None),)
    store.note_delivery(name, attempt(200, NOW + 5), None, is_delivered=True)
    (call,) = store.deliveries(job.id)
    assert call.attempts == (attempt(None), attempt(200, NOW + 5))
    assert (call.state, call.created_at) == ("delivered", NOW)


def test_a_call_without_another_time_is_given_up(store: Store) -> None:
    job = insert_one(store, webhook=URL)
    store.cancel(job.id, NOW)
    noted = store.note_delivery(one_due(store).id, attempt(410), None, is_delivered=False)
    assert noted is not None
    assert noted.state == "given_up"
    assert due(store, NOW + 10 * HOLD_S) == []
    assert store.deliveries(job.id) == [noted]


def test_what_has_arrived_stays_so(store: Store) -> None:
    """Two may make one call where the first took longer than it was held for."""
    job = insert_one(store, webhook=URL)
    store.cancel(job.id, NOW)
    name = one_due(store).id
    store.note_delivery(name, attempt(200), None, is_delivered=True)
    store.note_delivery(name, attempt(500), NOW + 5, is_delivered=False)
    (call,) = store.deliveries(job.id)
    assert (call.state, len(call.attempts)) == ("delivered", 2)
    assert due(store, NOW + 10 * HOLD_S) == []


def test_of_many_attempts_the_latest_are_kept(store: Store) -> None:
    job = insert_one(store, webhook=URL)
    store.cancel(job.id, NOW)
    name = one_due(store).id
    made = [attempt(None, NOW + turn) for turn in range(ATTEMPTS_KEPT + 3)]
    for one in made:
        store.note_delivery(name, one, NOW + 5, is_delivered=False)
    (call,) = store.deliveries(job.id)
    assert list(call.attempts) == made[3:]


def test_a_call_given_up_too_early_can_still_arrive(store: Store) -> None:
    store.cancel(insert_one(store, webhook=URL).id, NOW)
    name = one_due(store).id
    store.note_delivery(name, attempt(500), None, is_delivered=False)
    noted = store.note_delivery(name, attempt(200), None, is_delivered=True)
    assert noted is not None
    assert noted.state == "delivered"


# Going


@pytest.mark.parametrize("way", ["delete", "prune"])
def test_calls_are_forgotten_with_their_job(store: Store, way: str) -> None:
    gone = running(store, webhook=URL, webhook_events=ALL)
    store.complete(lease(gone), [], {}, NOW)
    held = due(store)
    kept = insert_one(store, NOW + 2, webhook=URL)
    store.cancel(kept.id, NOW + 2)
    if way == "delete":
        store.delete(gone.id)
    else:
        store.prune(NOW + 1, 0, NOW + 1)
    assert told(store, gone) == []
    assert store.note_delivery(held[0].id, attempt(), NOW + 5, is_delivered=False) is None
    assert [call.job_id for call in due(store, NOW + 10 * HOLD_S)] == [kept.id]


def test_there_is_nothing_to_note_where_there_is_no_call(store: Store) -> None:
    assert store.note_delivery("none", attempt(), NOW, is_delivered=False) is None
    assert store.deliveries("none") == []


def test_calls_outlive_the_handle(store: Store, another: Callable[[], Store]) -> None:
    job = insert_one(store, webhook=URL)
    store.cancel(job.id, NOW)
    store.close()
    other = another()
    assert told(other, job) == ["cancelled"]
    assert one_due(other).job_id == job.id


# Secrets


def test_a_tenants_secret_is_the_first_until_it_is_rotated(store: Store, another: Callable[[], Store]) -> None:
    assert store.webhook_secret("t") == WebhookSecret(0, None)
    assert store.rotate_webhook_secret("t", 0, NOW) == WebhookSecret(1, NOW)
    assert store.rotate_webhook_secret("t", 1, NOW + 0.125) == WebhookSecret(2, NOW + 0.125)
    assert another().webhook_secret("t") == WebhookSecret(2, NOW + 0.125)
    assert store.webhook_secret("t2") == WebhookSecret(0, None)


@pytest.mark.parametrize("known", [0, 2, 7])
def test_a_rotation_of_another_secret_than_the_present_one_changes_nothing(store: Store, known: int) -> None:
    rotated = store.rotate_webhook_secret("a:b", 0, NOW)
    assert store.rotate_webhook_secret("a:b", known, NOW + 9) == rotated
    assert store.webhook_secret("a:b") == rotated


def test_of_many_who_rotate_at_once_one_does(store: Store, another: Callable[[], Store]) -> None:
    stores, made = [store, another()], []
    threads = [
        threading.Thread(target=lambda k=k: made.append(stores[k % 2].rotate_webhook_secret("t", 0, NOW + k)))
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {secret.number for secret in made} == {1}
    assert len({secret.rotated_at for secret in made}) == 1

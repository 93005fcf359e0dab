"""Events: a job's own, the tail of all, and waiting for work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from darkroom.core import Event, Job
from darkroom.jobs.store import Noted, Store
from tests.contract.making import (
    ERROR,
    LEASE_S,
    NOW,
    claim,
    claim_one,
    insert,
    insert_one,
    lease,
    new_job,
    running,
    types,
)

LONG_S = 60.0  # so long that a test which waits it out has failed
SHORT_S = 0.15


def test_a_life_in_events(store: Store) -> None:
    job = running(store)
    store.report_step(lease(job), 1, 4, NOW + 1)
    store.release([lease(job)], "drain", NOW + 2)
    job = claim_one(store, NOW + 3)
    store.report_step(lease(job), 1, 4, NOW + 4)
    store.complete(lease(job), [], {}, NOW + 5)
    events = store.events(job.id, 0)
    assert types(events) == ["queued", "started", "progress", "requeued", "started", "progress", "succeeded"]
    assert [event.at - NOW for event in events] == [0, 0, 1, 2, 3, 4, 5]


def test_events_number_upwards_over_the_whole_store(store: Store, another: Callable[[], Store]) -> None:
    other = another()
    seen: list[Event] = []
    for turn in range(4):
        mine = (store, other)[turn % 2]
        job = running(mine)
        mine.report_step(lease(job), 1, 4, NOW)
        mine.complete(lease(job), [], {}, NOW)
        seen += mine.events(job.id, 0)
    numbers = [event.seq for event in seen]
    assert numbers == sorted(set(numbers))
    assert all(number > 0 for number in numbers)


def test_numbers_go_on_after_a_restart(store: Store, another: Callable[[], Store]) -> None:
    first = insert_one(store)
    last = store.events(first.id, 0)[-1].seq
    store.close()
    again = another()
    assert again.events(first.id, 0)[-1].seq == last
    assert again.events(insert_one(again).id, 0)[0].seq > last


def test_events_after_a_number_are_those_with_a_higher_one(store: Store) -> None:
    job = running(store)
    events = store.events(job.id, 0)
    assert store.events(job.id, events[0].seq) == events[1:]
    assert store.events(job.id, events[-1].seq) == []


def test_of_previews_only_the_latest_is_kept(store: Store) -> None:
    insert(store, new_job(), new_job())
    job, other = claim(store, 2)
    store.report_step(lease(other), 1, 4, NOW, "other")
    for step in range(1, 4):
        store.report_step(lease(job), step, 4, NOW, f"preview {step}")
    events = store.events(job.id, 0)
    assert types(events) == ["queued", "started", "progress", "progress", "progress", "preview"]
    assert events[-1].data == {"step": 3, "image": "preview 3"}
    assert types(store.events(other.id, 0)) == ["queued", "started", "progress", "preview"]


ENDS: dict[str, Callable[[Store, Job], object]] = {
    "succeeded": lambda store, job: store.complete(lease(job), [], {}, NOW),
    "failed": lambda store, job: store.fail(lease(job), ERROR, {}, NOW, None),
    "cancelled": lambda store, job: store.confirm_cancelled(lease(job), {}, NOW),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_final_event_is_the_last(store: Store, end: str) -> None:
    job = running(store)
    ENDS[end](store, job)
    assert types(store.events(job.id, 0)) == ["queued", "started", end]


# The tail


def test_the_tail_starts_at_the_present(store: Store) -> None:
    insert_one(store)
    reached, noted = store.tail(None, 0.0)
    assert noted == []
    job = insert_one(store)
    after, noted = store.tail(reached, 0.0)
    assert noted == [Noted(job.id, event) for event in store.events(job.id, 0)]
    assert after == noted[-1].event.seq > reached


def test_the_tail_of_an_empty_store_misses_nothing(store: Store) -> None:
    reached, noted = store.tail(None, 0.0)
    assert noted == []
    job = insert_one(store)
    assert [one.job_id for one in store.tail(reached, 0.0)[1]] == [job.id]


def test_the_tail_holds_every_job_in_order(store: Store) -> None:
    reached, _ = store.tail(None, 0.0)
    first, second = insert(store, new_job(), new_job())
    claim(store, 2)
    store.cancel(second.id, NOW)
    _, noted = store.tail(reached, 0.0)
    expected = [(first.id, "queued"), (second.id, "queued"), (first.id, "started"), (second.id, "started")]
    assert [(one.job_id, one.event.type) for one in noted] == expected
    numbers = [one.event.seq for one in noted]
    assert numbers == sorted(numbers)


def test_a_tail_with_nothing_new_stays_where_it_is(store: Store) -> None:
    insert_one(store)
    reached, _ = store.tail(None, 0.0)
    start = time.monotonic()
    assert store.tail(reached, SHORT_S) == (reached, [])
    assert time.monotonic() - start >= SHORT_S * 0.5


def test_a_tail_longer_than_one_answer_is_read_to_its_end(store: Store) -> None:
    reached, _ = store.tail(None, 0.0)
    job = running(store, steps=1500)
    for step in range(1500):
        store.report_step(lease(job), step, 1500, NOW)
    seen: list[Noted] = []
    while noted := (answer := store.tail(reached, 0.0))[1]:
        reached = answer[0]
        seen += noted
    assert types([one.event for one in seen]) == ["queued", "started"] + ["progress"] * 1500


def in_a_moment(action: Callable[[], object]) -> threading.Thread:
    """Do it from another thread, when the test is likely to wait already."""

    def act() -> None:
        time.sleep(0.1)
        action()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_a_waiting_tail_hears_a_step_of_another_handle(store: Store, another: Callable[[], Store]) -> None:
    job = running(store)
    other = another()
    reached, _ = store.tail(None, 0.0)
    thread = in_a_moment(lambda: other.report_step(lease(job), 1, 4, NOW))
    start = time.monotonic()
    _, noted = store.tail(reached, LONG_S)
    thread.join()
    assert [one.event.type for one in noted] == ["progress"]
    assert time.monotonic() - start < LONG_S / 2


def test_a_waiting_tail_that_started_at_the_present_hears_what_comes(store: Store) -> None:
    insert_one(store)
    thread = in_a_moment(lambda: insert_one(store, id="late"))
    _, noted = store.tail(None, LONG_S)
    thread.join()
    assert [one.job_id for one in noted] == ["late"]


# Waiting for work

WORK: dict[str, Callable[[Store], object]] = {
    "insert": lambda store: insert_one(store),
    "stage_due": lambda store: store.stage_due(NOW + 99),
    "cancel": lambda store: store.cancel("running", NOW),
    "release": lambda store: store.release([lease_of(store, "running")], "drain", NOW),
    "release_worker": lambda store: store.release_worker("w", "killed", NOW),
    "rescue": lambda store: store.rescue(NOW + LEASE_S + 1),
}


def lease_of(store: Store, job_id: str) -> object:
    """The lease of a running job, as its worker holds it."""
    job = store.get(job_id)
    assert job is not None
    return lease(job)


@pytest.mark.parametrize("what", WORK)
def test_who_waits_for_work_is_woken(store: Store, another: Callable[[], Store], what: str) -> None:
    running(store, id="running")
    insert_one(store, run_at=NOW + 60)
    other = another()
    assert claim(store) == []
    thread = in_a_moment(lambda: WORK[what](other))
    start = time.monotonic()
    store.wait_for_work(LONG_S)
    thread.join()
    assert time.monotonic() - start < LONG_S / 2


def test_work_that_came_between_the_look_and_the_wait_is_not_missed(store: Store, another: Callable[[], Store]) -> None:
    other = another()
    assert claim(store) == []
    insert_one(other)
    start = time.monotonic()
    store.wait_for_work(LONG_S)
    assert time.monotonic() - start < LONG_S / 2


def test_without_work_the_wait_ends_with_its_time(store: Store) -> None:
    insert_one(store, run_at=NOW + 60)
    claim(store)
    store.wait_for_work(0.0)
    start = time.monotonic()
    store.wait_for_work(SHORT_S)
    assert time.monotonic() - start >= SHORT_S * 0.5

"""Looking: the queue in figures, workers, drains, and stores that are closed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from darkroom.core import WorkerReport
from darkroom.errors import StoreUnavailable
from darkroom.jobs.ledger import Line
from darkroom.jobs.store import Queue, Store
from tests.contract.making import HIGH, NOW, claim_one, fetch, ids, insert, insert_one, lease, new_job, report


def test_an_empty_queue_in_figures(store: Store) -> None:
    assert store.queue() == Queue(0, 0, 0, 0.0, None, {})


def test_the_queue_in_figures(store: Store) -> None:
    insert(store, new_job(cost_s=1.5), new_job(cost_s=2.0), now=NOW + 5)
    insert(store, new_job("b", model="m2", cost_s=4.0), new_job(run_at=NOW + 60), now=NOW + 7)
    assert store.queue() == Queue(3, 0, 1, 7.5, NOW + 5, {"m": 2, "m2": 1})
    claim_one(store, NOW + 8)
    assert store.queue() == Queue(2, 1, 1, 6.0, NOW + 5, {"m": 1, "m2": 1})


def test_ended_jobs_are_not_in_the_figures(store: Store) -> None:
    job = insert_one(store)
    claimed = claim_one(store)
    store.complete(lease(claimed), [], {}, NOW)
    store.cancel(insert_one(store).id, NOW)
    assert fetch(store, job).is_final
    assert store.queue() == Queue(0, 0, 0, 0.0, None, {})


def test_a_workers_last_report_is_kept(store: Store, another: Callable[[], Store]) -> None:
    said = WorkerReport(
        "w", "ready", NOW + 5, ("m", "m2"), ("m",), 3, {"m": 0.125}, {"device": "cpu", "rows": {"m": 4}, "busy": 0.5}
    )
    store.heartbeat(report("w"), [], NOW)
    store.heartbeat(said, [], NOW + 5)
    assert another().workers(NOW) == [said]


def test_workers_are_those_heard_of_since(store: Store) -> None:
    store.heartbeat(report("old", NOW), [], NOW)
    store.heartbeat(report("new", NOW + 10), [], NOW + 10)
    assert {one.id for one in store.workers(NOW)} == {"old", "new"}
    assert {one.id for one in store.workers(NOW + 5)} == {"new"}
    assert store.workers(NOW + 11) == []


def test_the_store_s_clock_can_be_read(store: Store) -> None:
    before = time.time()
    assert before - 1.0 <= store.clock() <= time.time() + 1.0


def test_a_worker_can_be_asked_to_drain(store: Store, another: Callable[[], Store]) -> None:
    store.heartbeat(report("w"), [], NOW)
    store.heartbeat(report("w2"), [], NOW)
    assert not store.is_asked_to_drain("w")
    assert another().ask_drain("w")
    assert store.is_asked_to_drain("w")
    assert not store.is_asked_to_drain("w2")


def test_a_drain_outlives_the_next_report(store: Store) -> None:
    store.heartbeat(report("w"), [], NOW)
    store.ask_drain("w")
    store.heartbeat(report("w", NOW + 1), [], NOW + 1)
    assert store.is_asked_to_drain("w")


def test_a_worker_that_stopped_and_starts_again_under_its_id_need_not_drain(store: Store) -> None:
    store.heartbeat(report("w"), [], NOW)
    store.heartbeat(report("w2"), [], NOW)
    store.ask_drain("w")
    store.ask_drain("w2")
    store.heartbeat(WorkerReport("w", "stopped", NOW + 1), [], NOW + 1)
    store.heartbeat(report("w", NOW + 2), [], NOW + 2)
    assert not store.is_asked_to_drain("w")
    assert store.is_asked_to_drain("w2")


def test_an_unknown_worker_cannot_be_asked_to_drain(store: Store) -> None:
    assert not store.ask_drain("nobody")
    assert not store.is_asked_to_drain("nobody")


def test_that_somebody_watches_is_known_until_then(store: Store, another: Callable[[], Store]) -> None:
    assert not store.is_watched(NOW)
    another().watch(NOW + 10)
    assert store.is_watched(NOW + 9.5)
    assert not store.is_watched(NOW + 10)
    another().watch(NOW + 30)
    assert store.is_watched(NOW + 10)


def test_jobs_that_ended_are_listed_by_their_end_whenever_they_were_made(store: Store) -> None:
    early, late, gone = (insert_one(store, NOW + at) for at in (0, 1, 2))
    insert_one(store, NOW + 3)
    for at, job in ((50, late), (60, gone), (70, early)):
        store.cancel(job.id, NOW + at)
    assert ids(store.ended(NOW + 50, 0, 9)) == [early.id, gone.id, late.id]
    assert ids(store.ended(NOW + 50.5, 0, 9)) == [early.id, gone.id]
    assert ids(store.ended(NOW, 1, 1)) == [gone.id]
    assert store.ended(NOW, 3, 9) == []
    assert store.ended(NOW, 0, 1) == [fetch(store, early)]


def test_the_queue_is_told_by_model_and_class(store: Store) -> None:
    assert store.lines() == []
    insert(store, new_job(cost_s=1.5), new_job(cost_s=2.0, priority=40), now=NOW + 5)
    insert(
        store, new_job(cost_s=8.0, priority=HIGH, deadline_at=NOW + 90), new_job(model="m2", cost_s=4.0), now=NOW + 7
    )
    insert(store, new_job(cost_s=0.5, priority=HIGH - 7, deadline_at=NOW + 60), now=NOW + 9)
    insert(store, new_job(run_at=NOW + 50, deadline_at=NOW + 80), now=NOW)
    found = {(line.model, line.level): line for line in store.lines()}
    assert found == {
        ("m", 0): Line("m", 0, 2, 3.5, NOW + 5),
        ("m", HIGH): Line("m", HIGH, 2, 8.5, NOW + 7, ((NOW + 60, 0.5), (NOW + 90, 8.0))),
        ("m2", 0): Line("m2", 0, 1, 4.0, NOW + 7),
    }
    claim_one(store, NOW + 10)
    assert {line.jobs for line in store.lines() if line.level == HIGH} == {1}


def test_one_at_a_time_scales_the_fleet(store: Store, another: Callable[[], Store]) -> None:
    assert store.lead("keeper", NOW, 6.0)
    assert store.lead_fleet("a", NOW, 6.0)  # whoever keeps the store
    assert not another().lead_fleet("b", NOW + 5.9, 6.0)
    assert store.lead_fleet("a", NOW + 5.9, 6.0)
    assert not store.lead_fleet("b", NOW + 6.1, 6.0)
    assert store.lead_fleet("a", NOW + 6.1, 0.0)  # gives it up
    assert store.lead_fleet("b", NOW + 6.1, 6.0)
    assert store.lead_fleet("a", NOW - 60, 6.0)  # the clock has gone back
    assert store.lead("keeper", NOW + 1, 6.0)


def test_what_is_told_of_the_fleet_is_kept(store: Store, another: Callable[[], Store]) -> None:
    assert store.fleet_note() == {}
    store.note_fleet({"at": NOW, "pools": {"warm": {"wanted": 1, "reasons": ["é"]}}})
    assert another().fleet_note() == {"at": NOW, "pools": {"warm": {"wanted": 1, "reasons": ["é"]}}}
    another().note_fleet({"at": NOW + 1})
    assert store.fleet_note() == {"at": NOW + 1}


def test_risks_are_sentences(store: Store) -> None:
    assert all(risk.endswith(".") for risk in store.settings_risks())


def test_a_store_answers_until_it_is_closed(store: Store) -> None:
    store.check()
    store.close()
    store.close()  # twice is once
    with pytest.raises(StoreUnavailable):
        store.check()


CLOSED: dict[str, Callable[[Store], object]] = {
    "insert": lambda store: store.insert([new_job()], NOW),
    "claim": lambda store: claim_one(store),
    "get": lambda store: store.get("x"),
    "tail": lambda store: store.tail(None, 0.0),
    "queue": lambda store: store.queue(),
}


@pytest.mark.parametrize("verb", CLOSED)
def test_a_closed_store_is_unavailable(store: Store, verb: str) -> None:
    store.close()
    with pytest.raises(StoreUnavailable):
        CLOSED[verb](store)

"""What a policy is shown of a store and a driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.fleet.nouns import Member, Phase, Pool, Seen, Waiting
from darkroom.fleet.observing import HOUR_S, KEPT_HOURS, OVERLAP_S, Observer
from darkroom.fleet.told import FleetNote, Learned, Pace, PoolNote, fresh_note, read_note, write_note
from darkroom.jobs.store import Store
from tests.unit.fleet.fleet_site import NOW, ListDriver, beat, finish, insert, open_sqlite

HIGH = 1000
HOUR = NOW // HOUR_S * HOUR_S


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_sqlite(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def driver() -> ListDriver:
    return ListDriver()


@pytest.fixture
def observer(store: Store, driver: ListDriver) -> Observer:
    return Observer(store, driver, (Pool("a", ready_s=12.0, max_workers=9), Pool("b", models=("m",))), 30.0)


def test_what_waits_is_told_by_model_and_class_with_its_deadlines(store: Store, observer: Observer) -> None:
    insert(store, cost_s=2.0)
    insert(store, NOW + 1, cost_s=3.0, priority=7)
    insert(store, NOW + 2, cost_s=4.0, priority=HIGH, deadline_at=NOW + 60)
    insert(store, NOW + 3, cost_s=5.0, model="n")
    assert set(observer.look(NOW + 4).waiting) == {
        Waiting("m", 0, 2, 5.0, NOW),
        Waiting("m", HIGH, 1, 4.0, NOW + 2, ((NOW + 60, 4.0),)),
        Waiting("n", 0, 1, 5.0, NOW + 3),
    }


def test_a_member_is_ready_when_it_has_told_the_store(store: Store, driver: ListDriver, observer: Observer) -> None:
    driver.scale(Pool("a"), 4)
    silent, loading, ready, draining = driver.there
    beat(store, loading, "starting")
    beat(store, ready, loaded=("m",), in_flight=2, facts={"ahead_s": 4.5, "busy_share": 0.75})
    beat(store, draining, "draining")
    beat(store, "somebody else's")
    seen = {worker.member.name: worker for worker in observer.look(NOW).workers}
    assert {name: worker.member.phase for name, worker in seen.items()} == {
        silent: Phase.STARTING, loading: Phase.STARTING, ready: Phase.READY, draining: Phase.LEAVING,
    }  # fmt: skip
    assert seen[ready] == Seen(Member(ready, "a", Phase.READY, NOW), ("m",), 2, 4.5, 0.75)


def test_a_worker_that_fell_silent_is_not_counted_on(store: Store, driver: ListDriver, observer: Observer) -> None:
    driver.scale(Pool("a"), 1)
    [name] = driver.there
    beat(store, name)
    assert observer.look(NOW + 29).workers[0].member.phase is Phase.READY
    assert observer.look(NOW + 31).workers[0].member.phase is Phase.STARTING


def test_what_a_start_takes_is_learned_by_pool(store: Store, driver: ListDriver, observer: Observer) -> None:
    driver.scale(Pool("a"), 1)
    [name] = driver.there
    assert observer.look(NOW).pools[0].ready_s == 12.0  # as the settings say
    beat(store, name, now=NOW + 4)
    assert [pool.ready_s for pool in observer.look(NOW + 5).pools] == [4.0, 20.0]
    assert observer.look(NOW + 9).pools[0].ready_s == 4.0  # it has started once
    driver.scale(Pool("a"), 2)
    another = [*driver.there][1]
    observer.look(NOW)
    beat(store, another, now=NOW + 8)
    assert observer.look(NOW + 9).pools[0].ready_s == pytest.approx(6.0)


def test_one_that_was_ready_when_it_was_first_seen_teaches_nothing(
    store: Store, driver: ListDriver, observer: Observer
) -> None:
    driver.scale(Pool("a"), 1)
    beat(store, *driver.there, now=NOW + 500)
    assert observer.look(NOW + 500).pools[0].ready_s == 12.0


def test_one_that_fell_silent_for_a_while_teaches_nothing(store: Store, driver: ListDriver, observer: Observer) -> None:
    observer.look(NOW)
    driver.scale(Pool("a"), 1)
    [name] = driver.there
    beat(store, name, now=NOW + 4)
    for now in (NOW + 5, NOW + 500):  # ready, then silent
        observer.look(now)
    beat(store, name, now=NOW + 600)
    assert observer.look(NOW + 600).pools[0].ready_s == 12.0


def test_one_from_before_the_first_look_teaches_nothing(store: Store, driver: ListDriver, observer: Observer) -> None:
    driver.now = NOW - 200_000
    driver.scale(Pool("a"), 1)
    observer.look(NOW)  # its container is starting again
    beat(store, *driver.there, now=NOW + 5)
    assert observer.look(NOW + 5).pools[0].ready_s == 12.0


def test_jobs_of_remote_models_are_no_work_for_the_fleet(store: Store, driver: ListDriver) -> None:
    observer = Observer(store, driver, (Pool("a"),), 30.0, remote=frozenset({"far"}))
    insert(store, cost_s=2.0)
    insert(store, cost_s=3.0, model="far")
    seen = observer.look(NOW + 1)
    assert ([group.model for group in seen.waiting], sum(seen.arrivals.values())) == (["m"], 2.0)
    note = FleetNote(NOW, "local", "fixed", 5.0, (PoolNote("a", wanted=2),), remote=("far",))
    assert (note.cold_s("far", NOW), note.hands("far"), note.hands("m")) == (None, 1, 2)


def test_work_in_flight_is_told_in_the_seconds_of_what_waits(
    store: Store, driver: ListDriver, observer: Observer
) -> None:
    driver.scale(Pool("a"), 1)
    [name] = driver.there
    observer.learned = Learned(speeds={"a": 2.0})
    beat(store, name, in_flight=1, facts={"ahead_s": 3.0})
    assert observer.look(NOW).workers[0].ahead_s == 6.0


def test_paces_outlive_the_workers_that_measured_them(store: Store, observer: Observer) -> None:
    for name, step_s in (("x", 0.2), ("y", 0.4)):
        beat(store, name, step_seconds={"m": step_s}, facts={"rest_s": {"m": 1.0}, "rows": {"m": 4}})
    observer.look(NOW)
    observer.look(NOW + 1000)
    assert observer.learned.paces == {"m": Pace(pytest.approx(0.3), 1.0, 4.0)}


def test_speed_is_what_was_predicted_of_what_it_took(store: Store, driver: ListDriver, observer: Observer) -> None:
    driver.scale(Pool("a"), 1)
    [name] = driver.there
    observer.look(NOW)
    for _ in range(2):
        insert(store, cost_s=3.0)
        finish(store, name, device_s=1.5, now=NOW + 1)
    insert(store, cost_s=3.0)
    finish(store, "of no pool", device_s=300.0, now=NOW + 1)
    assert observer.look(NOW + 2).speeds == {"a": 2.0}
    assert observer.look(NOW + 4).speeds == {"a": 2.0}  # each job teaches once
    insert(store, cost_s=3.0)
    finish(store, name, device_s=3.0, now=NOW + 5)
    assert observer.look(NOW + 6).speeds == {"a": pytest.approx(1.5)}


def test_arrivals_are_counted_once_also_those_that_were_stored_late(store: Store, observer: Observer) -> None:
    insert(store, HOUR - 10, cost_s=1.0)
    insert(store, HOUR + 10, cost_s=2.0)
    assert observer.look(HOUR + 20).arrivals == {HOUR - HOUR_S: 1.0, HOUR: 2.0}
    insert(store, HOUR + 20 - OVERLAP_S / 2, cost_s=4.0)  # its gateway took a moment
    assert observer.look(HOUR + 25).arrivals == {HOUR - HOUR_S: 1.0, HOUR: 6.0}
    assert observer.look(HOUR + 30).arrivals == {HOUR - HOUR_S: 1.0, HOUR: 6.0}


def test_who_comes_after_goes_on_counting(store: Store, driver: ListDriver, observer: Observer) -> None:
    old = insert(store, NOW, cost_s=1.0)
    observer.look(NOW + 1)
    store.cancel(old.id, NOW + 1)
    store.prune(NOW + 2, NOW + 2, NOW + 2)
    insert(store, NOW + 5, cost_s=2.0)
    after = Observer(store, driver, observer.pools, 30.0, observer.learned)
    assert sum(after.look(NOW + 6).arrivals.values()) == 3.0


def test_arrivals_of_long_ago_are_forgotten(store: Store, observer: Observer) -> None:
    observer.learned = Learned(arrivals={HOUR - (KEPT_HOURS + 2) * HOUR_S: 5.0, HOUR: 1.0}, counted_until=NOW)
    assert observer.look(NOW).arrivals == {HOUR: 1.0}


def test_a_note_is_read_as_it_was_written(store: Store) -> None:
    member = Member("a-1", "a", Phase.STARTING, NOW - 5)
    pool = PoolNote("a", models=("m",), wanted=1, reasons=("why",), decided_at=NOW - 5, members=(member,))
    learned = Learned({"a": 3.0}, {"a": 2.0}, {"m": Pace(0.1)}, {HOUR: 1.5}, NOW)
    note = FleetNote(NOW, "local", "darkroom", 5.0, (pool,), "", learned)
    store.note_fleet(write_note(note))
    assert read_note(store.fleet_note()) == note
    assert fresh_note(store.fleet_note(), NOW + 29) == note
    assert fresh_note(store.fleet_note(), NOW + 31) is None
    assert read_note({}) is None
    assert read_note({"at": "of another release"}) is None


def test_a_cold_start_is_what_is_left_of_the_one_under_way() -> None:
    idle = PoolNote("a", ready_s=20.0, models=("m",))
    asked = PoolNote("b", ready_s=20.0, wanted=1, decided_at=NOW - 2)
    started = PoolNote("c", ready_s=20.0, wanted=1, members=(Member("c-1", "c", Phase.STARTING, NOW - 15),))
    late = PoolNote("d", ready_s=20.0, wanted=1, members=(Member("d-1", "d", Phase.STARTING, NOW - 23),))
    died = PoolNote("e", ready_s=20.0, wanted=1, decided_at=NOW - 3600)
    assert [pool.cold_s(NOW) for pool in (idle, asked, started, late, died)] == [20.0, 18.0, 5.0, 3.0, 20.0]
    note = FleetNote(NOW, "local", "fixed", 5.0, (idle, started))
    assert (note.cold_s("m", NOW), note.cold_s("n", NOW)) == (5.0, 5.0)
    assert FleetNote(NOW, "local", "fixed", 5.0, (idle,)).cold_s("n", NOW) is None

"""The loop that scales: who leads, what a plan changes, what a fault does not."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.errors import DriverUnavailable, StoreUnavailable
from darkroom.fleet.nouns import Member, Phase, Pool, Target
from darkroom.fleet.observing import Observer
from darkroom.fleet.scaler import HASTY_ENDS, LEAST_LEAD_S, Loop, Scaler
from darkroom.fleet.told import FleetNote, read_note
from darkroom.fleet_settings import FleetSettings, PoolSettings
from darkroom.jobs.store import Store
from tests.unit.fleet.fleet_site import NOW, Asking, ListDriver, beat, insert, open_sqlite

SETTINGS = FleetSettings(look_s=5.0, pools={"a": PoolSettings(max_workers=3), "b": PoolSettings(max_workers=3)})
POOLS = (Pool("a", max_workers=3), Pool("b", max_workers=3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_sqlite(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def driver() -> ListDriver:
    return ListDriver()


@pytest.fixture
def policy() -> Asking:
    return Asking(a=1)


def scaler_of(store: Store, driver: ListDriver, policy: Any, who: str = "one") -> Scaler:
    return Scaler(SETTINGS, Observer(store, driver, POOLS, 30.0), policy, who=who)


@pytest.fixture
def scaler(store: Store, driver: ListDriver, policy: Asking) -> Scaler:
    return scaler_of(store, driver, policy)


def told(store: Store) -> FleetNote:
    note = read_note(store.fleet_note())
    assert note is not None
    return note


def pools_of(driver: ListDriver) -> list[str]:
    return [member.pool for member in driver.there.values()]


def planned(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    """The decisions that were logged."""
    names = ("pool", "before", "workers", "reasons")
    return [tuple(getattr(line, n) for n in names) for line in caplog.records if line.message == "fleet_planned"]


def test_a_plan_is_carried_out_and_told(store: Store, driver: ListDriver, policy: Asking, scaler: Scaler) -> None:
    scaler.turn(NOW)
    assert pools_of(driver) == ["a"]
    [name] = driver.there
    beat(store, name, now=NOW + 4)
    scaler.turn(NOW + 5)
    note = told(store)
    assert (note.at, note.driver, note.policy, note.fault) == (NOW + 5, "local", "darkroom", "")
    one, two = note.pools
    assert (one.name, one.wanted, one.reasons, one.decided_at) == ("a", 1, ("1 wanted",), NOW)
    assert (one.count(Phase.READY), one.count(Phase.STARTING), one.ready_s) == (1, 0, 20.0)
    assert (two.wanted, two.members) == (None, ())  # the policy said nothing of it
    assert [pool for pool, _, _ in driver.asked] == ["a", "a"]


def test_only_changed_decisions_are_logged_with_their_reasons(
    driver: ListDriver, policy: Asking, scaler: Scaler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    scaler.turn(NOW)
    scaler.turn(NOW + 5)
    policy.plan = {"a": Target(2, reasons=("more",)), "b": Target(0, reasons=("none",))}
    scaler.turn(NOW + 10)
    assert planned(caplog) == [
        ("a", None, 1, ["1 wanted"]), ("a", 1, 2, ["more"]), ("b", None, 0, ["none"]),
    ]  # fmt: skip


def test_who_leaves_is_the_policy_s_to_say(driver: ListDriver, policy: Asking, scaler: Scaler) -> None:
    policy.plan = {"a": Target(3)}
    scaler.turn(NOW)
    first, second, third = driver.there
    policy.plan = {"a": Target(1, leaving=(second, first))}
    scaler.turn(NOW + 5)
    assert [*driver.there] == [third]


def test_one_of_several_scales_and_another_takes_over(store: Store, tmp_path: Path) -> None:
    one, two = (ListDriver(), Asking(a=1)), (ListDriver(), Asking(a=2))
    first, second = scaler_of(store, *one, who="first"), scaler_of(store, *two, who="second")
    first.turn(NOW)
    second.turn(NOW + 1)
    assert (first.is_leader, second.is_leader, two[0].asked, two[1].seen) == (True, False, [], [])
    second.turn(NOW + LEAST_LEAD_S + 1)  # the first is gone without a word
    assert pools_of(two[0]) == ["a", "a"]
    first.turn(NOW + LEAST_LEAD_S + 2)
    assert not first.is_leader
    second.resign(NOW + LEAST_LEAD_S + 3)
    first.turn(NOW + LEAST_LEAD_S + 3)
    assert first.is_leader


def test_a_new_leader_knows_what_the_one_before_learned(store: Store, driver: ListDriver, policy: Asking) -> None:
    first = scaler_of(store, driver, policy, "first")
    insert(store, cost_s=2.5)
    first.turn(NOW)
    [name] = driver.there
    first.turn(NOW + 1)
    beat(store, name, now=NOW + 4, step_seconds={"m": 0.25})
    first.turn(NOW + 5)
    scaler_of(store, ListDriver(), policy, "second").turn(NOW + 60)
    seen = policy.seen[-1]
    assert [pool.ready_s for pool in seen.pools] == [4.0, 20.0]
    assert sum(seen.arrivals.values()) == 2.5
    assert told(store).learned.paces["m"].step_s == 0.25


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (KeyError("x"), "raised KeyError"),
        (7, "answered int"),
        (None, "answered NoneType"),
        ({"c": Target(1)}, "'c'.*not one of a, b"),
        ({"a": 2}, "'a' is no Target"),
        ({"a": Target(-1)}, "'a' is no Target"),
        ({"a": Target(1.5)}, "'a' is no Target"),  # type: ignore[arg-type]
        ({"b": Target(1), "a": Target(True)}, "'a' is no Target"),
        ({"a": Target(2, leaving="a-1")}, "'a': leaving is no tuple"),  # type: ignore[arg-type]
        ({"a": Target(2, reasons=(7,))}, "'a': reasons is no tuple"),  # type: ignore[arg-type]
    ],
)
def test_a_policy_that_fails_changes_nothing(
    store: Store, driver: ListDriver, policy: Asking, scaler: Scaler, plan: Any, said: str
) -> None:
    scaler.turn(NOW)
    policy.plan = plan
    driver.there.clear()  # one that died is replaced all the same
    scaler.turn(NOW + 5)
    assert pools_of(driver) == ["a"]
    assert told(store).pools[0].reasons == ("1 wanted",)
    assert re.search(said, told(store).fault)
    policy.plan = {"a": Target(2)}
    scaler.turn(NOW + 10)
    assert (pools_of(driver), told(store).fault) == (["a", "a"], "")


def test_a_policy_stays_within_the_pool_s_bounds(store: Store, driver: ListDriver, policy: Asking) -> None:
    pools = (Pool("a", min_workers=1, max_workers=2), Pool("b", max_workers=3))
    scaler = Scaler(SETTINGS, Observer(store, driver, pools, 30.0), policy, who="one")
    policy.plan = {"a": Target(9, reasons=("greed",))}
    scaler.turn(NOW)
    assert pools_of(driver) == ["a", "a"]
    assert told(store).pools[0].reasons == ("greed", "the policy asked for 9; the pool has 1 to 2")
    policy.plan = {"a": Target(0)}
    scaler.turn(NOW + 5)
    assert pools_of(driver) == ["a"]


def test_a_driver_that_does_not_answer_is_told_of(store: Store, driver: ListDriver, scaler: Scaler) -> None:
    scaler.turn(NOW)
    driver.fault = "no cluster"
    with pytest.raises(DriverUnavailable):
        scaler.turn(NOW + 5)
    note = told(store)
    assert (note.at, note.fault, note.can_start) == (NOW + 5, "driver_unavailable: no cluster", False)
    driver.fault = ""
    scaler.turn(NOW + 10)
    assert told(store).can_start


def test_workers_that_end_before_they_are_ready_are_not_started_for_ever(
    store: Store, driver: ListDriver, policy: Asking, scaler: Scaler
) -> None:
    now, started = NOW, 0
    for _ in range(60):
        before = set(driver.there)
        scaler.turn(now)
        started += len(set(driver.there) - before)
        driver.there.clear()
        now += 5.0
    assert HASTY_ENDS <= started < 15
    assert "ended before they were ready" in told(store).fault
    policy.plan = {"a": Target(1)}
    while not driver.there:
        scaler.turn(now)
        now += 5.0
    beat(store, *driver.there, now=now)
    scaler.turn(now)
    assert told(store).fault == ""


def test_a_healthy_worker_does_not_end_the_pause_of_those_that_crash(
    store: Store, driver: ListDriver, policy: Asking, scaler: Scaler
) -> None:
    scaler.turn(NOW)
    [healthy] = driver.there
    policy.plan = {"a": Target(2)}
    now, started = NOW, set[str]()
    for _ in range(60):
        now += 5.0
        beat(store, healthy, now=now)
        scaler.turn(now)
        started |= set(driver.there) - {healthy}
        driver.there = {healthy: driver.there[healthy]}
    assert HASTY_ENDS <= len(started) < 15


def test_workers_that_end_together_count_once(store: Store, driver: ListDriver, policy: Asking, scaler: Scaler) -> None:
    policy.plan = {"a": Target(3)}
    scaler.turn(NOW)
    driver.there.clear()
    scaler.turn(NOW + 5)
    assert (len(driver.there), told(store).fault) == (3, "")


def test_a_new_reign_forgets_the_holds_of_the_one_before(store: Store, driver: ListDriver, scaler: Scaler) -> None:
    for number in range(HASTY_ENDS + 1):
        scaler.turn(NOW + number)
        driver.there.clear()
    assert told(store).fault
    scaler.resign(NOW + HASTY_ENDS + 1)
    scaler.turn(NOW + HASTY_ENDS + 1)
    assert (len(driver.there), told(store).fault) == (1, "")


def test_who_is_deposed_in_a_slow_turn_scales_and_tells_no_more(
    store: Store, driver: ListDriver, policy: Asking, scaler: Scaler
) -> None:
    def slow(seen: Any) -> Any:
        assert store.lead_fleet("another", NOW + LEAST_LEAD_S + 1, 10.0)  # this one's time ran out meanwhile
        return {"a": Target(1)}

    scaler_of(store, driver, slow).turn(NOW)
    assert (driver.asked, store.fleet_note()) == ([], {})
    scaler.turn(NOW + 20)
    assert not scaler.is_leader


def test_whoever_cannot_read_the_note_does_not_lead_yet(
    store: Store, scaler: Scaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(store, "fleet_note", away)
    with pytest.raises(StoreUnavailable):
        scaler.turn(NOW)
    assert not scaler.is_leader
    monkeypatch.undo()
    scaler.turn(NOW + 1)
    assert scaler.is_leader
    monkeypatch.setattr(store, "lead_fleet", away)
    with pytest.raises(StoreUnavailable):
        scaler.turn(NOW + 2)
    assert not scaler.is_leader


@pytest.mark.parametrize(("kind", "asked"), [("ray", [("old", 0, ())]), ("kubernetes", [])])
def test_workers_of_a_pool_that_is_no_more_leave(
    store: Store, driver: ListDriver, caplog: pytest.LogCaptureFixture, kind: str, asked: list[Any]
) -> None:
    driver.there["old-1"] = Member("old-1", "old", Phase.READY, NOW - 500)
    settings = SETTINGS.model_copy(update={"driver": kind})
    Scaler(settings, Observer(store, driver, POOLS, 30.0), Asking(), who="one").turn(NOW)
    assert driver.asked == asked
    assert [line.pools for line in caplog.records if line.message == "fleet_strays"] == [["old"]]  # type: ignore[attr-defined]
    assert told(store).strays == 1


def test_strays_are_told_until_they_leave(store: Store, driver: ListDriver, scaler: Scaler) -> None:
    driver.there |= {name: Member(name, "old", Phase.READY, NOW - 500) for name in ("old-1", "old-2")}
    scaler.turn(NOW)
    assert told(store).strays == 2
    driver.there = {name: member for name, member in driver.there.items() if member.pool != "old"}
    scaler.turn(NOW + 5)
    assert told(store).strays == 0


def test_work_wakes_a_fleet_that_sleeps(store: Store, driver: ListDriver) -> None:
    def policy(seen: Any) -> dict[str, Target]:
        return {"a": Target(1 if seen.waiting else 0)}

    loop = Loop(scaler_of(store, driver, policy), store, look_s=25.0)
    running = threading.Thread(target=loop.run)
    running.start()
    try:
        until = time.monotonic() + 20
        while not store.fleet_note():
            assert time.monotonic() < until
            time.sleep(0.01)
        insert(store, time.time())
        while not driver.there:
            assert time.monotonic() < until  # look_s is longer
            time.sleep(0.01)
    finally:
        loop.ask_stop()
        running.join(20)
    assert not running.is_alive()
    assert store.lead_fleet("another", time.time(), 6.0)  # it has resigned
    note = told(store)
    assert note.at >= 1.0


def test_a_fault_ends_a_turn_and_not_the_loop(
    store: Store, driver: ListDriver, caplog: pytest.LogCaptureFixture
) -> None:
    driver.fault = "away"
    loop = Loop(scaler_of(store, driver, Asking(a=1)), store, look_s=0.2)
    running = threading.Thread(target=loop.run)
    running.start()
    try:
        until = time.monotonic() + 20
        while not any(line.message == "fleet_failed" for line in caplog.records):
            assert time.monotonic() < until
            time.sleep(0.01)
        driver.fault = ""
        while not driver.there:
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        loop.ask_stop()
        running.join(20)

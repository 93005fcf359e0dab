"""The worker's sign of life over a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from darkroom.core import Job, Lease, WorkerReport
from darkroom.jobs.store import Store
from darkroom.worker.events import ClockRead, WatchRead
from darkroom.worker.heartbeat import Heartbeat

WAIT_S = 60.0


class Noting:
    """What a heartbeat was heard to say."""

    def __init__(self, store: Store, leases: Sequence[Lease], worker: str = "w1", every_s: float = 1.0) -> None:
        self.lost, self.asked, self.told = list[Lease](), 0, list[Any]()
        self.leases = list(leases)
        self.heartbeat = Heartbeat(
            store,
            lambda: WorkerReport(worker, "ready", time.time(), ("landscapes",), in_flight=len(self.leases)),
            lambda: self.leases,
            lost=self.lost.extend,
            asked_to_drain=self.drain,
            tell=self.told.append,
            every_s=every_s,
        )

    def drain(self) -> None:
        self.asked += 1


def test_a_beat_extends_the_leases_and_says_what_the_worker_is(store: Store, claimed: Job) -> None:
    before = store.get(claimed.id)
    assert before is not None
    assert before.lease_until is not None
    noting = Noting(store, [Lease(claimed.id, claimed.fence)])
    time.sleep(0.01)
    assert noting.heartbeat.beat()
    after = store.get(claimed.id)
    assert after is not None
    assert after.lease_until is not None
    assert after.lease_until > before.lease_until
    assert noting.lost == []
    assert [report.id for report in store.workers(0.0)] == ["w1"]


@pytest.mark.parametrize("behind_s", [0.0, 100.0, -100.0])
def test_how_far_the_clocks_are_apart_is_told(store: Store, monkeypatch: pytest.MonkeyPatch, behind_s: float) -> None:
    monkeypatch.setattr(store, "clock", lambda: time.time() - behind_s)
    noting = Noting(store, [])
    noting.heartbeat.beat()
    assert noting.told[0] == ClockRead(pytest.approx(behind_s, abs=1.0))


def test_whether_somebody_watches_is_told_with_each_beat(store: Store) -> None:
    noting = Noting(store, [])
    noting.heartbeat.beat()
    store.watch(time.time() + 60)
    noting.heartbeat.beat()
    store.watch(time.time() - 1)
    noting.heartbeat.beat()
    assert [each for each in noting.told if isinstance(each, WatchRead)] == [
        WatchRead(False),
        WatchRead(True),
        WatchRead(False),
    ]


def test_leases_that_are_held_no_longer_are_told(store: Store, claimed: Job) -> None:
    noting = Noting(store, [Lease(claimed.id, claimed.fence)])
    store.release_worker("w1", "thought to be dead", time.time())
    noting.heartbeat.beat()
    assert noting.lost == [Lease(claimed.id, claimed.fence)]


def test_an_operators_wish_is_told_once(store: Store) -> None:
    noting = Noting(store, [])
    noting.heartbeat.beat()
    assert noting.asked == 0
    assert store.ask_drain("w1")
    for _ in range(3):
        noting.heartbeat.beat()
    assert noting.asked == 1


def test_a_beat_without_a_store_is_no_fault(store: Store) -> None:
    noting = Noting(store, [])
    store.close()
    assert not noting.heartbeat.beat()
    assert len(noting.told) == 1


def test_a_hint_is_followed_by_a_beat_long_before_the_next_is_due(store: Store) -> None:
    noting = Noting(store, [], every_s=600.0)
    thread = threading.Thread(target=noting.heartbeat.run, daemon=True)
    thread.start()
    wait_until(lambda: bool(store.workers(0.0)))
    noting.leases = [Lease("taken meanwhile", 1)]
    noting.heartbeat.hint()
    wait_until(lambda: store.workers(0.0)[0].in_flight == 1)
    noting.heartbeat.close()
    thread.join(WAIT_S)
    assert not thread.is_alive()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)

"""The thread that claims, over a real store: how much it takes, and what it has stopped."""

from __future__ import annotations

import threading
import time

import pytest

from darkroom.core import Job, JobState
from darkroom.jobs.store import Claimant, Store
from darkroom.worker.attempt import Attempt, InFlight, Stop
from darkroom.worker.claims import Claims, Prediction
from darkroom.worker.events import AttemptEnded, JobsClaimed, StopAsked, WorkerEvent

from .jobs import new_job


class Bench:
    """Claims into `in_flight`; `predicted` is what an engine would say."""

    def __init__(self, store: Store, claim_ahead_s: float = 10.0) -> None:
        self.store, self.told = store, list[WorkerEvent]()
        self.in_flight = InFlight(lambda: None)
        self.predicted = Prediction()
        self.loaded: tuple[str, ...] = ("landscapes",)
        self.claims = Claims(
            store, self.in_flight, self.claimant, lambda: self.predicted, self.begin, self.told.append, claim_ahead_s
        )

    def claimant(self) -> Claimant:
        return Claimant("w1", ("landscapes", "slow"), self.loaded, len(self.in_flight) == 0)

    def begin(self, job: Job) -> None:
        self.in_flight.add(Attempt(job))

    def submit(self, count: int, **said: object) -> None:
        now = time.time()
        self.store.insert([new_job(f"j{k}", now=now, **said) for k in range(count)], now)

    def turn(self, times: int = 1) -> int:
        """Take turns, as if it were long after the last; how many are in flight then."""
        for _ in range(times):
            self.claims._stale_at = 0.0
            self.claims.run_once()
        return len(self.in_flight)


def test_jobs_that_could_not_soon_start_stay_in_the_queue(store: Store) -> None:
    bench = Bench(store)
    bench.submit(50, cost_s=2.0)
    assert bench.turn() == 1  # what jobs take is not known yet
    assert bench.turn(3) == 5  # of two seconds each, with nothing else predicted
    assert store.queue().queued == 45


def test_what_the_engine_predicts_bounds_what_is_claimed(store: Store) -> None:
    bench = Bench(store)
    bench.submit(50, cost_s=2.0)
    bench.turn()
    hand_over(bench)
    bench.predicted = Prediction(9.0)
    assert bench.turn() == 2
    bench.predicted = Prediction(10.0)
    assert bench.turn() == 2


def test_a_worker_with_jobs_lets_others_go_first_when_it_is_told_of_new_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, let = Bench(store), list[int]()
    monkeypatch.setattr("darkroom.worker.claims.let_s", lambda count: let.append(count) or 0.0)
    bench.submit(1, cost_s=2.0)
    bench.turn()
    let.clear()
    bench.turn()  # nobody tells it of any
    assert let == []
    for number in range(100):  # on a slow machine one may come too late
        now = time.time()
        late = threading.Timer(0.05, store.insert, [[new_job(f"late-{number}", now=now, cost_s=2.0)], now])
        late.start()
        bench.turn()
        late.join()
        if let:
            break
    assert let[0] >= 1


def test_jobs_that_wait_for_their_model_do_not_hold_up_those_of_a_loaded_one(store: Store) -> None:
    bench = Bench(store)
    now = time.time()
    store.insert([new_job(f"slow-{k}", now=now, model="slow", cost_s=1.0) for k in range(40)], now)
    waiting = bench.turn(6)
    assert 16 <= waiting < 32  # bounded, and never all of them
    bench.submit(3, cost_s=2.0)
    bench.turn(3)
    assert {f"j{k}" for k in range(3)} <= {attempt.job.id for attempt in bench.in_flight.all()}
    assert len(bench.in_flight) == waiting + 3
    bench.loaded = ("landscapes", "slow")  # they count from now on
    assert bench.turn(3) == waiting + 3


def test_while_no_model_is_loaded_yet_only_so_many_are_claimed(store: Store) -> None:
    bench = Bench(store)
    bench.loaded = ()
    bench.submit(40, cost_s=0.1)
    assert 16 <= bench.turn(6) < 32


def test_no_more_is_claimed_than_predicted_bytes_allow(store: Store) -> None:
    bench = Bench(store)
    bench.submit(5, cost_s=0.1)
    bench.turn()
    bench.predicted = Prediction(0.1, fits=0)
    assert bench.turn() == 1
    bench.predicted = Prediction(0.1, fits=3)
    assert bench.turn(2) == 3  # the first has not been handed over, and takes one of the three places
    assert bench.turn() == 3


def test_a_long_job_lets_those_in_that_find_free_rows_and_no_others(store: Store) -> None:
    bench = Bench(store)
    bench.submit(9, cost_s=60.0)
    bench.turn()
    hand_over(bench)
    bench.predicted = Prediction(60.0, joining={"landscapes": 2})
    assert bench.turn(2) == 3
    assert bench.turn() == 3  # those two take the free rows once they are handed over
    hand_over(bench)
    bench.predicted = Prediction(90.0, joining={"landscapes": 0})
    assert bench.turn() == 3


def test_free_rows_of_one_model_are_for_its_own_jobs(store: Store) -> None:
    bench = Bench(store)
    bench.loaded = ("landscapes", "slow")
    bench.submit(1, cost_s=60.0)
    bench.turn()
    hand_over(bench)
    now = time.time()
    store.insert([new_job("other", now=now, model="slow", cost_s=60.0)], now)
    bench.predicted = Prediction(60.0, joining={"landscapes": 2})
    assert bench.turn() == 1


def hand_over(bench: Bench) -> None:
    """The engine has them."""
    for attempt in bench.in_flight.all():
        attempt.shots, attempt.handles = (None,), [None]  # type: ignore[assignment,list-item]


def test_what_jobs_really_take_replaces_what_the_door_judged(store: Store) -> None:
    bench = Bench(store)
    bench.submit(50, cost_s=9.0)
    bench.claims.learn(AttemptEnded("j", "landscapes", 1, "", "succeeded", 1.0, 2, metrics={"device_s": 0.5}))
    for count in (1, 2, 4, 8, 16):  # never more at once than there are
        assert bench.turn() == count
        hand_over(bench)
        bench.predicted = Prediction(0.5 * count)


def test_what_one_model_s_jobs_take_says_nothing_of_another_s(store: Store) -> None:
    bench = Bench(store)
    bench.loaded = ("landscapes", "slow")
    bench.claims.learn(AttemptEnded("j", "landscapes", 1, "", "succeeded", 1.0, 2, metrics={"device_s": 0.1}))
    now = time.time()
    store.insert([new_job(f"slow-{k}", now=now, model="slow", cost_s=4.0) for k in range(20)], now)
    in_flight = bench.turn()
    hand_over(bench)
    bench.predicted = Prediction(5.0)
    bench.claims.learn(AttemptEnded("j", "slow", 1, "", "succeeded", 1.0, 2, metrics={"device_s": 4.0}))
    assert bench.turn() == in_flight + 1  # five seconds of room, four of them for one


def test_what_the_rest_of_a_resumed_job_took_teaches_nothing(store: Store) -> None:
    bench = Bench(store)
    bench.submit(50, cost_s=9.0)
    rest = {"device_s": 0.5, "resumed_from_step": 19.0}
    bench.claims.learn(AttemptEnded("j", "landscapes", 1, "", "succeeded", 1.0, 2, metrics=rest))
    assert bench.turn() == 1


def test_a_suspect_is_alone_with_its_worker(store: Store) -> None:
    bench = Bench(store)
    bench.submit(3)
    store.claim(Claimant("w0", ("landscapes",)), 2, time.time())
    store.release_worker("w0", "it died", time.time())
    assert bench.turn(3) == 1
    assert bench.in_flight.all()[0].job.is_suspect


def test_a_cancelled_job_is_stopped_where_it_runs(store: Store) -> None:
    bench = Bench(store)
    bench.submit(2, cost_s=0.1)
    bench.turn(2)
    store.cancel("j0", time.time())
    bench.turn()
    first, second = bench.in_flight.find("j0"), bench.in_flight.find("j1")
    assert first is not None
    assert second is not None
    assert (first.why, second.why) == (Stop.CANCELLED, None)
    assert StopAsked("j0", "cancelled") in bench.told


def test_claims_are_told_by_number(store: Store) -> None:
    bench = Bench(store)
    bench.submit(3, cost_s=0.1)
    bench.turn(2)
    assert [event.count for event in bench.told if isinstance(event, JobsClaimed)] == [1, 1]


@pytest.mark.parametrize("ahead_s", [-11.0, 11.0])
def test_nothing_is_claimed_while_the_clock_is_off(store: Store, ahead_s: float) -> None:
    bench = Bench(store)
    bench.submit(1)
    bench.claims.heed_clock(ahead_s, 10.0)
    assert bench.turn() == 0
    bench.claims.heed_clock(0.5, 10.0)
    assert bench.turn() == 1


def test_after_the_end_nothing_is_claimed(store: Store) -> None:
    bench = Bench(store)
    bench.submit(1)
    bench.claims.close()
    assert bench.turn() == 0
    job = store.get("j0")
    assert job is not None
    assert job.state == JobState.QUEUED

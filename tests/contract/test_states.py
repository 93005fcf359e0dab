"""Any order of verbs, workers, lost leases and clocks that jump: a store does what the plain model does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from darkroom.core import Allowance, Delivery, Lease, NewJob, WorkerReport, class_step
from darkroom.errors import IdempotencyConflict, JobNotFinal, LeaseLost, LimitExceeded
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import HOLD_S, PATIENCE_S, Claimant, JobFilter, Store
from tests.contract.conftest import BACKENDS, LIMITS, empty_redis
from tests.contract.making import HIGH, NOW, artifact, ids, new_job, report
from tests.contract.model import Model, differences

WORKERS = ("w1", "w2", "w3")
KEYS = ("k", "k2")
FEW = {"k": Allowance(live_jobs=3)}
EVENTS = ("started", "succeeded", "failed", "cancelled")
SENT_S = 8.0  # how long calls are held for who sends them
MODELS = ("m", "m2")
MEMORY = Path("/dev/shm")  # thousands of commits, of which none needs to last
SIDES = st.integers(0, 1)  # which of two handles on the store is asked
LATER = st.one_of(st.none(), st.sampled_from([0.0, 5.0, 40.0]))
CLAIMANTS = st.builds(
    Claimant,
    st.sampled_from(WORKERS),
    st.sampled_from([MODELS, ("m",), ("m2", "m")]),
    st.sampled_from([MODELS, ("m",), ()]),
    st.booleans(),
)
BOTH = {"adapter_digests": {"a": "a" * 64, "b": "b" * 64}}
REPORTS = st.builds(
    lambda worker, state, models, loaded, marks: report(
        worker, state=state, models=models, loaded=loaded, facts={"adapters": dict.fromkeys(MODELS, marks)}
    ),
    st.sampled_from(WORKERS),
    st.sampled_from(["ready", "ready", "ready", "draining", "stopped"]),
    st.sampled_from([MODELS, MODELS, ("m",)]),  # what it serves; it may have more in memory, for the sake of these
    st.sampled_from([MODELS, ("m",), ("m2",), ()]),
    st.sampled_from([[], ["a" * 16], ["a" * 16, "b" * 16]]),
)
# Powers of two: ranks are sums of these, and then no rounding hides a difference.
NEW_JOBS = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["a", "b", "c"]),
        "model": st.sampled_from(MODELS),
        "priority": st.sampled_from([0, 0, 0, 1, HIGH]),
        "cost_s": st.sampled_from([0.5, 1.0, 4.0]),
        "weight": st.sampled_from([1.0, 2.0]),
        "max_attempts": st.integers(1, 3),
        "idempotency_key": st.one_of(st.none(), st.none(), st.sampled_from(["k1", "k2"])),
        "digest": st.sampled_from(["d", "d", "e"]),
        "key_id": st.sampled_from(["", *KEYS]),
        "cost_usd": st.sampled_from([0.0, 0.25]),
        "input": st.sampled_from([{"prompt": "x"}, {"prompt": "x"}, {"adapter_digests": {"a": "a" * 64}}, BOTH]),
        "webhook": st.sampled_from([None, "https://example.org/"]),
        "webhook_events": st.sampled_from([EVENTS, EVENTS[1:], EVENTS[:2], ()]),
    }
)
METRICS = st.sampled_from([{}, {"denoise_s": 1.0}, {"device_s": 2.0, "cost_usd": 0.5}])
JUMPS = st.sampled_from(
    [HOLD_S / 2, HOLD_S, 1.0, 3.0, PATIENCE_S, LIMITS.lease_s, LIMITS.lease_s + 1, 25 * 3600.0, -5.0, -3600.0]
)


class StoreMachine(RuleBasedStateMachine):
    """Two handles on one store, three workers, and the model beside them.

    Rules are few and broad: with one for each verb, most runs would never get a job as far as its second attempt.
    """

    open_empty: Callable[[], tuple[list[Store], Callable[[], None]]]

    @initialize(jobs=st.lists(NEW_JOBS, min_size=2, max_size=5))
    def begin(self, jobs: list[dict[str, Any]]) -> None:
        self.stores, self.clean = type(self).open_empty()
        self.model = Model(LIMITS)
        self.now = NOW
        self.leases: list[Lease] = []
        self.known: list[str] = []
        self.sending: list[Delivery] = []
        self.insert(0, jobs, None, None)

    def teardown(self) -> None:
        if hasattr(self, "clean"):
            self.clean()

    # Coming in

    @rule(side=SIDES, jobs=st.lists(NEW_JOBS, min_size=1, max_size=3), run_in=LATER, deadline_in=LATER)
    def insert(self, side: int, jobs: list[dict[str, Any]], run_in: float | None, deadline_in: float | None) -> None:
        offsets = {"run_at": run_in, "deadline_at": deadline_in}
        times = {name: None if offset is None else self.now + offset for name, offset in offsets.items()}
        new = [new_job(**fields, **times, allowance=FEW.get(fields["key_id"], Allowance())) for fields in jobs]
        expected = [self.model.insert(one, self.now) for one in new]
        for answer, outcome in zip(self.stores[side].insert(new, self.now), expected, strict=True):
            if isinstance(outcome, type):
                assert isinstance(answer, outcome)
                assert outcome is IdempotencyConflict or (outcome is LimitExceeded and answer.field == "live_jobs")
            else:
                assert not isinstance(answer, Exception)
                assert answer.id == outcome
                self.known.append(answer.id)
        for one in new:
            self.check_known(side, one)

    def check_known(self, side: int, new: NewJob) -> None:
        if new.idempotency_key is None:
            return
        expected = self.model.known(new, self.now)
        try:
            found = self.stores[side].known(new.tenant, new.idempotency_key, new.digest, self.now)
        except IdempotencyConflict:
            assert expected is IdempotencyConflict
        else:
            assert (found and found.id) == expected

    @rule(by=JUMPS)
    def jump(self, by: float) -> None:
        self.now += by

    # Workers

    @rule(side=SIDES, who=CLAIMANTS, limit=st.integers(1, 4))
    def claim(self, side: int, who: Claimant, limit: int) -> None:
        got = self.stores[side].claim(who, limit, self.now)
        assert ids(got) == self.model.claim(who, limit, self.now)
        for job in got:
            assert job.fence > self.model.jobs[job.id].fence
            self.model.jobs[job.id].fence = job.fence
            self.leases.append(Lease(job.id, job.fence))

    @precondition(lambda self: self.leases)
    @rule(side=SIDES, data=st.data(), verb=st.sampled_from(["heartbeat", "release"]))
    def tell_of_several(self, side: int, data: st.DataObject, verb: str) -> None:
        some = data.draw(st.lists(st.sampled_from(self.leases[-6:]), unique=True, max_size=4))
        store = self.stores[side]
        if verb == "heartbeat":
            said = data.draw(REPORTS)
            assert store.heartbeat(said, some, self.now) == self.model.heartbeat(said, some, self.now)
        else:
            took = {lease: data.draw(METRICS) for lease in some[1:]}
            assert store.release(some, "drain", self.now, took) == self.model.release(some, self.now, took)

    @precondition(lambda self: self.leases)
    @rule(side=SIDES, data=st.data(), verb=st.sampled_from(["step", "complete", "fail", "retry", "confirm"]))
    def write(self, side: int, data: st.DataObject, verb: str) -> None:
        lease, store, model, now = data.draw(st.sampled_from(self.leases[-6:])), self.stores[side], self.model, self.now
        step, retry_at = data.draw(st.integers(1, 4)), now + data.draw(st.sampled_from([0.0, 5.0]))
        made, error = [artifact() for _ in range(step - 2)], {"code": "internal", "message": "x"}
        took = data.draw(METRICS)
        both: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "step": (
                lambda: model.report_step(lease, step),
                lambda: store.report_step(lease, step, 4, now, "x" if step == 2 else None),
            ),
            "complete": (lambda: model.complete(lease, took, now), lambda: store.complete(lease, made, took, now)),
            "fail": (
                lambda: model.fail(lease, "internal", took, now, None),
                lambda: store.fail(lease, error, took, now, None),
            ),
            "retry": (
                lambda: model.fail(lease, "internal", took, now, retry_at),
                lambda: store.fail(lease, error, took, now, retry_at),
            ),
            "confirm": (
                lambda: model.confirm_cancelled(lease, took, now),
                lambda: store.confirm_cancelled(lease, took, now),
            ),
        }
        do_the_same(*both[verb])

    claim_more, write_more = claim, write  # a rule that is there twice is drawn twice as often

    # Clients

    @precondition(lambda self: self.known)
    @rule(side=SIDES, data=st.data(), verb=st.sampled_from(["cancel", "cancel", "delete", "priority"]))
    def ask(self, side: int, data: st.DataObject, verb: str) -> None:
        name, store, model = data.draw(st.sampled_from(self.known)), self.stores[side], self.model
        if verb == "cancel":
            store.cancel(name, self.now)
            model.cancel(name, self.now)
        elif verb == "delete":
            do_the_same(lambda: model.delete(name), lambda: store.delete(name))
        else:
            before = model.jobs[name].priority if name in model.jobs else 0
            priority = class_step(before) + data.draw(st.integers(-1, 1))  # a class stays
            store.set_priority(name, priority, self.now)
            model.set_priority(name, priority)

    # Webhooks

    @rule(side=SIDES)
    def send(self, side: int) -> None:
        calls = self.stores[side].due_deliveries(self.now, 1000, SENT_S)
        assert {(call.job_id, call.event) for call in calls} == self.model.due(self.now, SENT_S)
        assert len(calls) == len({call.id for call in calls})
        self.sending += calls

    @precondition(lambda self: self.sending)
    @rule(side=SIDES, data=st.data(), next_in=LATER, is_delivered=st.booleans())
    def note(self, side: int, data: st.DataObject, next_in: float | None, is_delivered: bool) -> None:
        call = data.draw(st.sampled_from(self.sending[-4:]))
        next_at = None if next_in is None else self.now + next_in
        noted = self.stores[side].note_delivery(call.id, {"at": self.now}, next_at, is_delivered=is_delivered)
        assert (noted is not None) == self.model.note_delivery(call.job_id, call.event, next_at, is_delivered)

    # Putting right

    @rule(side=SIDES, said=REPORTS, is_asked=st.booleans())
    def say(self, side: int, said: WorkerReport, is_asked: bool) -> None:
        assert self.stores[side].heartbeat(said, [], self.now) == self.model.heartbeat(said, [], self.now)
        if is_asked:
            assert self.stores[side].ask_drain(said.id) == (said.state != "stopped")
            if said.state != "stopped":
                self.model.draining.add(said.id)

    say_more = say

    @rule(side=SIDES, worker=st.sampled_from(WORKERS))
    def die(self, side: int, worker: str) -> None:
        gone = self.stores[side].release_worker(worker, "killed", self.now)
        assert sorted(gone) == sorted(self.model.release_worker(worker, self.now))

    @rule(side=SIDES, by=JUMPS, age_s=st.sampled_from([60.0, 3600.0]))
    def keep(self, side: int, by: float, age_s: float) -> None:
        self.now += by
        store, model = self.stores[side], self.model
        assert store.stage_due(self.now) == model.stage_due(self.now)
        assert sorted(store.rescue(self.now)) == sorted(model.rescue(self.now))
        assert sorted(store.expire(self.now)) == sorted(model.expire(self.now))
        store.prune(self.now - age_s, 0, self.now)
        model.prune(self.now - age_s, self.now)

    # What must hold after each of them

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        store = self.stores[0]
        for name in self.known:
            job, expected = store.get(name), self.model.jobs.get(name)
            if expected is None:
                assert job is None
                assert store.events(name, 0) == []
                continue
            assert job is not None
            found = differences(job, expected)
            assert found == {}, found
            told = [event.type for event in store.events(name, 0)]
            assert [kind for kind in told if kind not in ("progress", "preview", "output")] == expected.events

    @invariant()
    def the_queue_is_as_the_model_says(self) -> None:
        store, line = self.stores[1], self.model.in_line()
        queue, states = store.queue(), [job.state for job in self.model.jobs.values()]
        assert (queue.queued, queue.running, queue.scheduled) == tuple(
            map(states.count, ("queued", "running", "scheduled"))
        )
        ahead_s = 0.0
        for place, job in enumerate(line):
            assert store.position(job.new.id) == (place, ahead_s)
            ahead_s += job.new.cost_s
        names = [job.new.id for job in line]
        assert store.positions(names) == [store.position(name) for name in names]
        assert queue.ahead_s == ahead_s
        for worker in WORKERS:
            marked = [job.new.id for job in self.model.of_worker(worker) if job.is_cancelling]
            assert sorted(store.cancelling(worker)) == sorted(marked)

    @invariant()
    def usage_is_as_the_model_says(self) -> None:
        for key_id in KEYS:
            used = self.stores[1].usage(key_id, self.now)
            assert (used.live_jobs, used.device_s, used.cost_usd) == self.model.usage(key_id, self.now)

    @invariant()
    def webhook_calls_are_as_the_model_says(self) -> None:
        for name in self.known:
            calls = [(one.event, one.state, one.due_at, len(one.attempts)) for one in self.stores[1].deliveries(name)]
            job = self.model.jobs.get(name)
            expected = {} if job is None else job.calls
            assert calls == [(event, one.state, one.due_at, one.attempts) for event, one in expected.items()]

    @invariant()
    def the_list_is_as_the_model_says(self) -> None:
        order = sorted(self.model.jobs.values(), key=lambda job: (job.times["created"], job.number), reverse=True)
        page = self.stores[0].list_jobs(JobFilter(limit=1000))
        assert ids(page.jobs) == [job.new.id for job in order]


def do_the_same(in_model: Callable[[], object], in_store: Callable[[], object]) -> None:
    """The same write in both: both do it, or both refuse it for the same reason."""
    try:
        in_model()
    except (LeaseLost, JobNotFinal) as refusal:
        with pytest.raises(type(refusal)):
            in_store()
    else:
        in_store()


def opener(backend: str, folder: Path, redis_url: str | None) -> Callable[[], tuple[list[Store], Callable[[], None]]]:
    """What opens two handles on an empty store, and what then lets go of it."""

    def open_empty() -> tuple[list[Store], Callable[[], None]]:
        place = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else folder))
        url = redis_url or f"sqlite:///{place / 'jobs.sqlite3'}"
        if redis_url:
            empty_redis(redis_url)
        stores = [open_store(url, LIMITS), open_store(url, LIMITS)]

        def clean() -> None:
            for store in stores:
                store.close()
            shutil.rmtree(place)

        return stores, clean

    return open_empty


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_does_what_the_model_does(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    redis_url = request.getfixturevalue("redis_server") if backend == "redis" else None

    class Machine(StoreMachine):
        open_empty = staticmethod(opener(backend, tmp_path, redis_url))

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=checks),
    )

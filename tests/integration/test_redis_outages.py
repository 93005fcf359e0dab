"""The store while Redis is away, silent, restarting, emptied or half heard: nothing is lost, nothing done twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from darkroom.core import Allowance, ApiKey, Delivery, Job, JobState, WorkerReport
from darkroom.errors import Conflict, LeaseLost, StoreUnavailable
from darkroom.jobs import redis
from darkroom.jobs.redis import RedisStore
from darkroom.jobs.redis_link import script
from tests.integration.redis_site import (
    ANYONE,
    LEASE_S,
    LIMITS,
    NOW,
    Server,
    Wire,
    check_keys_agree,
    insert,
    lease,
    new_job,
    picture,
)

SCRIPTS = [path.stem for path in Path(redis.__file__).with_name("lua").glob("*.lua")]
ERROR = {"code": "not_finite", "message": "black"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, appendfsync="always")  # once a second may lose what it accepted, where the disk is slow
    yield server
    server.resume()
    server.kill()


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=30.0)) as store:
        yield store


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with contextlib.closing(Wire(server.port)) as wire:
        yield wire


@pytest.fixture
def far(wire: Wire, server: Server) -> Iterator[RedisStore]:
    """The store at the other end of a wire; its scripts are known to Redis, so that the first answer is the verb's."""
    with server.client() as client:
        for name in SCRIPTS:
            client.script_load(script(name)[0])
    with contextlib.closing(RedisStore(wire.url, LIMITS, timeout_s=30.0)) as store:
        store.check()
        yield store


# An answer that is lost: the verb is sent again, and has happened once.


def half_heard(wire: Wire, ask: Callable[[], Any]) -> Any:
    wire.lose_next_answer()
    answer = ask()
    assert wire.lost == 1
    return answer


def test_an_insert_half_heard_makes_one_job(far: RedisStore, wire: Wire, store: RedisStore) -> None:
    answer = half_heard(wire, lambda: far.insert([new_job("a"), new_job("b"), new_job("a")], NOW))
    assert isinstance(answer, list)
    assert answer[:2] == [store.get("a"), store.get("b")]
    assert not isinstance(answer[2], Job)
    assert store.queue().queued == 2


def test_a_claim_half_heard_gives_the_same_jobs(far: RedisStore, wire: Wire, store: RedisStore, server: Server) -> None:
    for number in range(4):
        insert(store, str(number))
    jobs = half_heard(wire, lambda: far.claim(ANYONE, 2, NOW))
    assert jobs == [store.get("0"), store.get("1")]
    assert (store.queue().queued, store.queue().running) == (2, 2)
    check_keys_agree(server)


ENDS: dict[str, Callable[[RedisStore, Job], object]] = {
    "complete": lambda store, job: store.complete(lease(job), [picture(job)], {"device_s": 1.0}, NOW),
    "fail": lambda store, job: store.fail(lease(job), ERROR, {}, NOW, None),
    "retry": lambda store, job: store.fail(lease(job), ERROR, {}, NOW, NOW + 60),
    "confirm_cancelled": lambda store, job: store.confirm_cancelled(lease(job), {}, NOW),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_half_heard_happens_once(far: RedisStore, wire: Wire, store: RedisStore, end: str) -> None:
    insert(store, "x")
    (job,) = store.claim(ANYONE, 1, NOW)
    answer = half_heard(wire, lambda: ENDS[end](far, job))
    assert answer == store.get("x")
    kinds = [event.type for event in store.events("x", 0)]
    assert len(kinds) == len(set(kinds))


def test_other_verbs_half_heard_do_no_harm(far: RedisStore, wire: Wire, store: RedisStore, server: Server) -> None:
    insert(store, "x", run_at=NOW + 1)
    half_heard(wire, lambda: far.stage_due(NOW + 1))
    (job,) = store.claim(ANYONE, 1, NOW + 1)
    wire.lost = 0
    assert half_heard(wire, lambda: far.heartbeat(WorkerReport("w", "ready", NOW), [lease(job)], NOW + 2)) == []
    wire.lost = 0
    half_heard(wire, lambda: far.release([lease(job)], "drain", NOW + 3))
    wire.lost = 0
    half_heard(wire, lambda: far.cancel("x", NOW + 4))
    seen = store.get("x")
    assert seen is not None
    assert (seen.state, seen.attempt) == (JobState.CANCELLED, 0)
    check_keys_agree(server)


def test_an_insert_half_heard_uses_a_key_once(far: RedisStore, wire: Wire, store: RedisStore) -> None:
    new = new_job("x", key_id="k", cost_s=2.0, cost_usd=0.5, allowance=Allowance(1, 1, 2.0, 0.5))
    (answer,) = half_heard(wire, lambda: far.insert([new], NOW))
    assert isinstance(answer, Job)
    used = store.usage("k", NOW)
    assert (used.live_jobs, used.device_s, used.cost_usd, used.next_job_at) == (1, 2.0, 0.5, NOW + 60)


@pytest.mark.parametrize("end", ["complete", "fail", "confirm_cancelled"])
def test_an_end_half_heard_is_settled_and_told_once(far: RedisStore, wire: Wire, store: RedisStore, end: str) -> None:
    insert(store, "x", key_id="k", cost_s=4.0, webhook="https://example.org/")
    insert(store, "y", key_id="k", cost_s=4.0)
    (job,) = store.claim(ANYONE, 1, NOW)
    half_heard(wire, lambda: ENDS[end](far, job))
    used = store.usage("k", NOW)
    assert (used.live_jobs, used.device_s) == (1, 5.0 if end == "complete" else 4.0)
    assert len(store.deliveries("x")) == 1
    assert store.stored_bytes() == (10 if end == "complete" else 0)


def test_calls_half_heard_are_given_and_noted_once(far: RedisStore, wire: Wire, store: RedisStore) -> None:
    insert(store, "x", webhook="https://example.org/")
    store.cancel("x", NOW)
    (call,) = half_heard(wire, lambda: far.due_deliveries(NOW, 9, 30.0))
    assert store.due_deliveries(NOW, 9, 30.0) == []
    wire.lost = 0
    noted = half_heard(wire, lambda: far.note_delivery(call.id, {"at": NOW}, NOW + 5, is_delivered=False))
    assert [noted] == store.deliveries("x")
    assert isinstance(noted, Delivery)
    assert len(noted.attempts) == 1


def test_a_key_half_heard_is_there_once(far: RedisStore, wire: Wire, store: RedisStore) -> None:
    key = ApiKey("k", "t", "n", ("user",), "00", NOW)
    half_heard(wire, lambda: far.add_key(key))
    assert store.keys() == [key]
    with pytest.raises(Conflict):
        far.add_key(key)
    wire.lost = 0
    assert half_heard(wire, lambda: far.revoke_key("k", NOW)) == store.keys()[0]


# Away for long: a named error in time; for a moment: waited out.


def test_a_store_that_nobody_serves_is_unavailable_until_it_comes(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.kill()
    store = RedisStore(server.url, LIMITS, timeout_s=0.5)
    for ask in (store.check, lambda: insert(store, "x"), lambda: store.wait_for_work(0.1), lambda: store.tail(None, 0)):
        with pytest.raises(StoreUnavailable, match="does not answer"):
            ask()
    server.start()
    with contextlib.closing(RedisStore(server.url, LIMITS)) as patient:
        patient.check()  # a slow machine is given time
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(StoreUnavailable):
                insert(store, "x")
                break
            assert time.monotonic() < until
        assert store.queue().queued == 1
    finally:
        store.close()
        server.kill()


def test_a_short_absence_is_waited_out(server: Server, store: RedisStore) -> None:
    insert(store, "before")
    server.kill()
    answers: list[Job] = []
    thread = threading.Thread(target=lambda: answers.append(insert(store, "after")))
    thread.start()
    server.start()
    thread.join()
    assert [job.id for job in answers] == ["after"]
    assert store.get("before") is not None


def test_a_silent_server_is_unavailable_and_then_works_again(server: Server) -> None:
    with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=1.0)) as store:
        insert(store, "before")
        server.pause()
        with pytest.raises(StoreUnavailable):
            insert(store, "during")
        server.resume()
        with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=60.0)) as patient:
            insert(patient, "after")
            # What was sent into the silence may have been heard; it is there whole or not at all.
            assert check_keys_agree(server) == patient.queue().queued >= 2


def test_a_partition_is_unavailable_and_then_works_again(wire: Wire, store: RedisStore) -> None:
    with contextlib.closing(RedisStore(wire.url, LIMITS, timeout_s=1.0)) as far:
        insert(far, "before")
        wire.fall_silent()
        for ask in (lambda: insert(far, "during"), lambda: far.wait_for_work(0.1), lambda: far.get("before")):
            with pytest.raises(StoreUnavailable):
                ask()
        wire.speak_again()
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(StoreUnavailable):
                insert(far, "after")
                break
            assert time.monotonic() < until
    assert {job_id for job_id in ("before", "after") if store.get(job_id)} == {"before", "after"}


def test_a_worker_that_was_cut_off_past_its_lease_cannot_complete(wire: Wire, store: RedisStore) -> None:
    insert(store, "x")
    with contextlib.closing(RedisStore(wire.url, LIMITS, timeout_s=1.0)) as far:
        (zombie,) = far.claim(ANYONE, 1, NOW)
        wire.fall_silent()
        with pytest.raises(StoreUnavailable):
            far.heartbeat(WorkerReport("w", "ready", NOW), [lease(zombie)], NOW + 5)
        assert store.rescue(NOW + LEASE_S + 1) == ["x"]
        (heir,) = store.claim(ANYONE, 1, NOW + LEASE_S + 2)
        store.complete(lease(heir), [picture(heir)], {}, NOW + LEASE_S + 3)
        wire.speak_again()
    with contextlib.closing(RedisStore(wire.url, LIMITS, timeout_s=60.0)) as far:
        assert far.heartbeat(WorkerReport("w", "ready", NOW), [lease(zombie)], NOW + LEASE_S + 4) == [lease(zombie)]
        late = picture(zombie)
        with pytest.raises(LeaseLost):
            far.complete(lease(zombie), [late], {}, NOW + LEASE_S + 5)
    done = store.get("x")
    assert done is not None
    assert (done.state, done.fence, len(done.outputs)) == (JobState.SUCCEEDED, heir.fence, 1)


# What Redis may forget.


def test_scripts_that_redis_forgot_are_sent_again(server: Server, store: RedisStore) -> None:
    for number in range(3):
        insert(store, str(number))
        with server.client() as client:
            client.script_flush()
        (job,) = store.claim(ANYONE, 1, NOW)
        store.complete(lease(job), [picture(job)], {}, NOW)
    assert check_keys_agree(server) == 3


def test_numbers_rise_also_past_what_a_crash_has_lost(server: Server, store: RedisStore) -> None:
    insert(store, "lost")
    (lost,) = store.claim(ANYONE, 1, NOW)
    reached, _ = store.tail(None, 0.0)
    with server.client() as client:
        client.flushall()  # as a power cut does to what was not synced yet
    insert(store, "new")
    heard, noted = store.tail(reached, 0.0)  # of one who listened before
    assert [one.job_id for one in noted] == ["new"]
    (new,) = store.claim(ANYONE, 1, NOW)
    assert heard > reached
    assert new.fence > lost.fence


# Many at once.


def test_two_clients_run_each_job_once(server: Server, store: RedisStore) -> None:
    total, ended = 200, []
    with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=30.0)) as other:
        begun = threading.Barrier(6)

        def submit(mine: RedisStore, part: int) -> None:
            begun.wait()
            for number in range(part, total, 2):
                insert(mine, f"job-{number}", tenant=f"t{number % 3}", deadline_at=NOW + 9)

        def work(mine: RedisStore, worker: str) -> None:
            begun.wait()
            while len(ended) < total:
                for job in mine.claim(type(ANYONE)(worker, ("m",), ("m",), is_idle=False), 3, NOW):
                    mine.report_step(lease(job), 1, 4, NOW, "data:,x")
                    if int(job.id.removeprefix("job-")) % 5 == 0 and job.attempt == 1 and not job.errors:
                        mine.fail(lease(job), ERROR, {}, NOW, NOW)
                        mine.stage_due(NOW)
                    else:
                        mine.complete(lease(job), [picture(job)], {}, NOW)
                        ended.append(job.id)

        threads = [threading.Thread(target=submit, args=(mine, part)) for part, mine in enumerate((store, other))]
        threads += [threading.Thread(target=work, args=((store, other)[k % 2], f"w{k}")) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ended) == sorted(f"job-{number}" for number in range(total))
    assert check_keys_agree(server) == total
    assert all([e.type for e in store.events(job_id, 0)].count("succeeded") == 1 for job_id in ended[::10])


def test_a_waiter_in_each_of_many_threads_is_woken(store: RedisStore) -> None:
    insert(store, "first")
    store.claim(ANYONE, 1, NOW)
    woken, ready = [], threading.Barrier(9)

    def wait(number: int) -> None:
        store.wait_for_work(0.0)  # so that what came before is known to this thread
        ready.wait()
        store.wait_for_work(60.0)
        woken.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    start = time.monotonic()
    insert(store, "second")
    for thread in threads:
        thread.join()
    assert len(woken) == 8
    assert time.monotonic() - start < 30


def test_who_waits_is_told_when_the_store_is_closed(server: Server) -> None:
    store, told, ready = RedisStore(server.url, LIMITS), [], threading.Barrier(3)
    store.wait_for_work(0.0)

    def wait(ask: Callable[[], object]) -> None:
        ready.wait()
        try:
            ask()
        except StoreUnavailable as error:
            told.append(str(error))

    asks = (lambda: store.tail(None, 120.0), lambda: store.wait_for_work(120.0))
    threads = [threading.Thread(target=wait, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    ready.wait()
    time.sleep(0.2)  # so that they are likely to wait already
    store.close()
    for thread in threads:
        thread.join()
    assert told == ["the job store was closed"] * 2


def test_a_due_time_wakes_who_waits(store: RedisStore) -> None:
    store.wait_for_work(0.0)
    due = time.time() + 0.5
    insert(store, "later", run_at=due)
    start = time.monotonic()
    while time.time() < due:
        store.wait_for_work(60.0)
    assert time.monotonic() - start < 30
    assert store.stage_due(time.time()) == 1


def test_a_due_time_that_nobody_stages_wakes_once(store: RedisStore) -> None:
    insert(store, "due", run_at=NOW + 1)
    store.wait_for_work(60.0)
    start = time.monotonic()
    store.wait_for_work(0.3)
    assert time.monotonic() - start >= 0.2

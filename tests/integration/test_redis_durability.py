"""Accepted jobs outlive kill -9 of Redis, torn files and full memory: whole or not at all."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.core import Job, JobState
from darkroom.errors import JobNotFinal, LeaseLost, StoreUnavailable
from darkroom.jobs.redis import RedisStore
from darkroom.jobs.store import Claimant
from tests.integration.redis_site import (
    ANYONE,
    LEASE_S,
    LIMITS,
    NOW,
    PATIENCE_S,
    Server,
    check_keys_agree,
    insert,
    lease,
    new_job,
    picture,
)


def wait_until_written(server: Server) -> None:
    """With `everysec`, Redis holds back what it writes for as long as the disk is busy with the second before."""
    with server.client() as client:
        while client.info("persistence")["aof_buffer_length"]:
            time.sleep(0.01)


def wait_until_rewritten(server: Server) -> None:
    """Until whoever came back after its start has had its file written anew."""
    until = time.monotonic() + PATIENCE_S
    with server.client() as client:
        while client.info("persistence")["aof_last_rewrite_time_sec"] < 0:
            assert time.monotonic() < until, "nobody asked for that"
            time.sleep(0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, appendfsync="always")
    yield server
    server.kill()


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=60.0)) as store:
        yield store


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_what_was_answered_outlives_a_killed_redis(server: Server, store: RedisStore, fsync: str) -> None:
    server.set(appendfsync=fsync)
    for number in range(20):
        insert(store, f"job-{number}", idempotency_key=f"key-{number}", digest="d")
    jobs = store.claim(ANYONE, 5, NOW)
    done = store.complete(lease(jobs[0]), [picture(jobs[0])], {"device_s": 0.1}, NOW + 1)
    kept = {job_id: store.get(job_id) for job_id in (f"job-{number}" for number in range(20))}
    events = store.events(done.id, 0)
    if fsync != "always":
        wait_until_written(server)
    server.kill()
    server.start()
    assert {job_id: store.get(job_id) for job_id in kept} == kept
    assert store.events(done.id, 0) == events
    assert insert(store, "again", idempotency_key="key-3", digest="d").id == "job-3"
    assert store.complete(lease(jobs[1]), [], {}, NOW + 2).state == JobState.SUCCEEDED
    assert sorted(store.rescue(NOW + LEASE_S + 1)) == sorted(job.id for job in jobs[2:])
    assert check_keys_agree(server) == 20


@pytest.mark.slow
def test_jobs_accepted_while_redis_is_killed_again_and_again_all_end_once(server: Server, store: RedisStore) -> None:
    accepted: list[str] = []
    ended: list[str] = []
    is_enough, is_over = threading.Event(), threading.Event()

    def submit() -> None:
        while not is_enough.is_set():
            accepted.append(insert(store, f"job-{len(accepted)}").id)

    def work(worker: str) -> None:
        while not is_over.is_set():
            jobs = store.claim(Claimant(worker, ("m",), ("m",), is_idle=False), 2, NOW)
            ended.extend(store.complete(lease(job), [picture(job)], {}, NOW).id for job in jobs)

    submitter = threading.Thread(target=submit)
    workers = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(2)]
    for thread in (submitter, *workers):
        thread.start()
    for _ in range(4):
        is_over.wait(0.2)
        wait_until_rewritten(server)  # a kill may tear the file, and a second one before that may run the torn part
        server.kill()
        server.start()
    is_enough.set()
    submitter.join()
    while store.queue().queued or store.queue().running:
        is_over.wait(0.05)
    is_over.set()
    for thread in workers:
        thread.join()
    assert sorted(ended) == sorted(accepted)
    assert check_keys_agree(server) == len(accepted) > 4


def newest_log(folder: Path) -> Path:
    return max((folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: int(path.suffixes[-3][1:]))


def test_a_torn_append_only_file_loses_whole_verbs_only(tmp_path: Path) -> None:
    """The power failed in the middle of a write, again and again; whoever keeps the store has the file written anew."""
    server = Server(tmp_path, aof_load_truncated="yes")
    try:
        with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=60.0)) as store:
            for cut in range(1, 1500, 113):
                store.insert([new_job(f"job-{cut}-{number}") for number in range(2)], NOW)
                for job in store.claim(ANYONE, 1, NOW):
                    store.complete(lease(job), [picture(job)], {}, NOW)
                server.kill()
                log = newest_log(tmp_path)
                os.truncate(log, log.stat().st_size - cut)
                server.start()
                check_keys_agree(server)
                assert store.lead("keeper", NOW, 10.0)
                wait_until_rewritten(server)
            server.kill()
            server.start()
            assert check_keys_agree(server) > 10
            assert isinstance(insert(store, "goes-on"), Job)
    finally:
        server.kill()


def test_a_verb_torn_by_a_kill_is_not_counted_twice_after_the_next(
    tmp_path: Path, server: Server, store: RedisStore
) -> None:
    """Whoever was cut off says it again, and has the file written anew: no keeper is there."""
    insert(store, "first")
    insert(store, "second")
    first, second = store.claim(ANYONE, 2, NOW)
    store.complete(lease(first), [picture(first)], {}, NOW)
    store.complete(lease(second), [picture(second)], {}, NOW)
    server.kill()
    log = newest_log(tmp_path)
    os.truncate(log, log.stat().st_size - 500)
    server.start()
    store.complete(lease(second), [picture(second)], {}, NOW)
    wait_until_rewritten(server)
    server.kill()
    server.start()
    assert store.stored_bytes() == 20
    assert check_keys_agree(server) == 2


def test_a_torn_file_is_written_anew_though_the_memory_is_full(
    tmp_path: Path, server: Server, store: RedisStore
) -> None:
    insert(store, "first")
    server.kill()
    log = newest_log(tmp_path)
    os.truncate(log, log.stat().st_size - 100)
    server.start()
    server.set(maxmemory="1mb", maxmemory_policy="noeviction")
    assert store.get("first") is None
    wait_until_rewritten(server)


def test_full_memory_refuses_whole_verbs(server: Server, store: RedisStore) -> None:
    insert(store, "before")
    (job,) = store.claim(ANYONE, 1, NOW)
    insert(store, "queued")
    server.set(maxmemory="1mb", maxmemory_policy="noeviction")
    for ask in (
        lambda: insert(store, "during"),
        lambda: store.claim(ANYONE, 1, NOW),
        lambda: store.cancel("queued", NOW),
        lambda: store.complete(lease(job), [picture(job)], {}, NOW),
    ):
        with pytest.raises(StoreUnavailable, match="memory is full"):
            ask()
        assert check_keys_agree(server) == 2
    assert store.get("queued") is not None  # reading goes on
    server.set(maxmemory="0")
    assert store.complete(lease(job), [picture(job)], {}, NOW).state == JobState.SUCCEEDED
    assert check_keys_agree(server) == 2


def random_verb(store: RedisStore, chance: random.Random, made: list[str], held: list[Job], now: float) -> None:
    """Some verb on some job, as a crowd of gateways and workers would send them."""
    job = chance.choice(held) if held else None
    some = chance.choice(made) if made else "nobody"
    match chance.randrange(16 if job else 10):
        case 0 | 1 | 2:
            made.append(f"job-{len(made)}")
            run_at, deadline = chance.choice([None, now + 5]), chance.choice([None, now + 9])
            fields = {"model": chance.choice("mno"), "tenant": chance.choice("ab"), "priority": chance.randrange(3)}
            fields |= {
                "key_id": chance.choice(["", "k", "l"]),
                "webhook": chance.choice([None, "https://example.org/"]),
            }
            insert(store, made[-1], run_at=run_at, deadline_at=deadline, cost_s=chance.random(), **fields)
        case 3 | 4:
            worker = Claimant(chance.choice("vw"), ("m", "n"), ("m",), is_idle=chance.random() < 0.5)
            held.extend(store.claim(worker, 3, now))
        case 5:
            store.stage_due(now)
        case 6:
            store.cancel(some, now)
        case 7:
            store.set_priority(some, chance.randrange(5), now)
        case 8:
            chance.choice([store.expire, store.rescue])(now)
        case 9:
            if store.get(some) is not None:
                store.delete(some)
        case 10:
            store.complete(lease(job), [picture(job)], {}, now)
        case 11:
            store.fail(lease(job), {"code": "x"}, {}, now, chance.choice([None, now + 1]))
        case 12:
            store.release([lease(job)], "drain", now)
        case 13:
            store.release_worker(chance.choice("vw"), "killed", now)
        case 14:
            store.confirm_cancelled(lease(job), {}, now)
        case 15:
            store.prune(now - 20, 0, now)


@pytest.mark.parametrize("seed", range(6))
def test_the_keys_agree_whatever_is_asked_in_whatever_order(tmp_path: Path, seed: int) -> None:
    server, chance = Server(tmp_path, appendonly="no"), random.Random(seed)
    made: list[str] = []
    held: list[Job] = []
    try:
        with contextlib.closing(RedisStore(server.url, LIMITS, timeout_s=60.0)) as store:
            for number in range(300):
                with contextlib.suppress(LeaseLost, JobNotFinal):
                    random_verb(store, chance, made, held, NOW + number)
                if number % 20 == 0:
                    check_keys_agree(server)
            check_keys_agree(server)
    finally:
        server.kill()

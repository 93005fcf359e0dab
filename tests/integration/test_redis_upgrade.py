"""A Redis that an earlier release wrote, before there were keys, webhooks and a sum of bytes: it all goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom.core import Allowance, JobState, Usage
from darkroom.errors import LimitExceeded
from darkroom.jobs import redis_link
from darkroom.jobs.ledger import UPLOAD_BYTES
from darkroom.jobs.redis import RedisStore
from tests.integration.redis_site import ANYONE, LIMITS, NOW, Server, check_keys_agree, insert, lease, new_job, picture

# What the release before wrote for a job that runs, with a webhook.
FIELDS = {"id", "state", "tenant", "model", "task", "request_id", "cost_s", "weight", "priority", "steps"}
FIELDS |= {"max_attempts", "webhook", "input", "token", "serial", "born", "t:created", "cost_us", "rank", "place"}
FIELDS |= {"t:queued", "t:started", "fence", "worker", "attempt", "lease_until"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    """A store that the release before has left with one job of each kind, and no sum of bytes."""
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store:
        insert(store, "done", webhook="https://example.org/")
        (done,) = store.claim(ANYONE, 1, NOW)
        store.complete(lease(done), [replace(picture(done), size=70)], {"device_s": 1.0}, NOW)
        store.add_artifact(replace(picture(done), id="upload-0", job_id=None, size=7))
        insert(store, "runs", webhook="https://example.org/")
        store.claim(ANYONE, 1, NOW)
        insert(store, "waits")
        with server.client() as client:
            client.delete("darkroom:bytes", "darkroom:due", "darkroom:deliveries:done")
            client.delete(*client.keys("darkroom:delivery:*"))
            assert client.hgetall("darkroom:job:runs").keys() == FIELDS
        yield store


def test_jobs_of_the_release_before_go_on_and_tell_their_webhooks(store: RedisStore, server: Server) -> None:
    runs = store.get("runs")
    assert runs is not None
    assert (runs.key_id, runs.traceparent, runs.webhook_events) == ("", "", ("succeeded", "failed", "cancelled"))
    assert store.complete(lease(runs), [picture(runs)], {}, NOW).state == JobState.SUCCEEDED
    assert [call.event for call in store.deliveries("runs")] == ["succeeded"]
    assert [call.job_id for call in store.due_deliveries(NOW, 9, 30.0)] == ["runs"]
    assert store.deliveries("done") == []
    assert store.usage("", NOW) == Usage()
    check_keys_agree(server)


def test_artifacts_of_the_release_before_are_counted(store: RedisStore, server: Server) -> None:
    assert store.stored_bytes() == 77
    check_keys_agree(server)
    assert [artifact.id for artifact in store.prune_bytes(10, NOW)] == ["done-0"]
    assert (store.stored_bytes(), store.uploaded_bytes("t")) == (7, UPLOAD_BYTES)
    store.delete_artifact("upload-0")
    assert (store.stored_bytes(), store.uploaded_bytes("t")) == (0, 0)


@pytest.mark.parametrize("change", ["complete", "delete", "upload"])
def test_they_are_counted_before_the_first_change(store: RedisStore, server: Server, change: str) -> None:
    runs = store.get("runs")
    assert runs is not None
    if change == "complete":
        store.complete(lease(runs), [picture(runs)], {}, NOW)
    elif change == "delete":
        store.delete("done")
    else:
        store.delete_artifact("upload-0")
    assert store.stored_bytes() == {"complete": 87, "delete": 7, "upload": 70}[change]
    check_keys_agree(server)


def test_keys_count_from_the_upgrade_on(store: RedisStore) -> None:
    new = {"key_id": "k", "allowance": Allowance(live_jobs=1)}
    insert(store, "new", **new)
    (refused,) = store.insert([new_job("one more", **new)], NOW)
    assert isinstance(refused, LimitExceeded)


def laid_out_before(server: Server) -> None:
    """Places by priority, no lines of tenants: as layout 1 had it."""
    with server.client() as client:
        for key in client.scan_iter("darkroom:job:*"):
            job = client.hgetall(key)
            place = f"{10**12 - int(job['priority']):013d}{job['place'][13:]}"
            client.hset(key, "place", place)
            if job["state"] == "queued":
                for line in ("darkroom:order", f"darkroom:queue:{job['model']}"):
                    client.zrem(line, job["place"])
                    client.zadd(line, {place: 0})
        client.delete(*client.keys("darkroom:line:*"))
        client.set("darkroom:layout", "1")


@pytest.mark.parametrize("portion", [1, 2, 500])
def test_places_of_layout_1_are_made_anew(server: Server, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "PORTION", portion)
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store:
        insert(store, "runs", priority=5)
        insert(store, "again", priority=5)
        runs, again = store.claim(ANYONE, 2, NOW)
        store.fail(lease(again), {"code": "internal"}, {}, NOW, NOW + 5)
        insert(store, "plain")
        insert(store, "urgent", priority=5)
        insert(store, "other", tenant="u", priority=-5)
    laid_out_before(server)
    with contextlib.closing(RedisStore(server.url, LIMITS)) as store:
        store.check()
        check_keys_agree(server)
        with server.client() as client:
            assert (client.get("darkroom:layout"), client.exists("darkroom:upgraded")) == ("2", 0)
        assert store.release([lease(runs)], "drain", NOW) == 1
        assert store.stage_due(NOW + 5) == 1
        insert(store, "first", priority=9)
        check_keys_agree(server)
        order = [job.id for job in store.claim(ANYONE, 9, NOW + 5)]
        assert order == ["first", "runs", "other", "again", "urgent", "plain"]

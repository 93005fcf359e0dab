"""A Redis that an earlier release wrote, before there were keys, webhooks and a sum of bytes: it all goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darkroom.core import Allowance, JobState, Usage
from darkroom.errors import LimitExceeded
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

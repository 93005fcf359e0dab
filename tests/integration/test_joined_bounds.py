"""Workers over HTTP that are unlucky, broken or greedy: several gateways, late bodies, long jobs, odd reports."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.config import Settings
from darkroom.core import Artifact, Job, JobState, Lease, NewJob, WorkerReport
from darkroom.errors import BadInput, InvalidConfig, StorageUnavailable, StoreUnavailable, Unauthorised
from darkroom.jobs import wire
from darkroom.jobs.http import FLOOR_S, HttpStore
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant
from darkroom.models.catalogue import catalogue
from darkroom.safety import read_rules
from darkroom.storage.http import HttpStorage
from darkroom.storage.link import Ask, Link
from darkroom.storage.objects import key_for_adapter, key_for_output
from darkroom.worker.joining import ask, with_said

from .callers import Holder, known
from .cutting_proxy import cutting
from .gateway_site import PROMPT, Site, open_site, picture, settings_in, wait_until

KIB = 1024
LIMIT_MB = 0.25


class Far:
    """A worker with a key of its own, through that address."""

    def __init__(self, key: Holder, url: str, name: str = "gpu") -> None:
        self.key, self.name = key, f"{name}-{key.id}"
        self.link = Link(url, key.shown)
        self.store, self.storage = HttpStore(self.link, look_s=0.0), HttpStorage(self.link, again_s=0.0)

    def claim(self, limit: int = 1, *models: str) -> list[Job]:
        return self.store.claim(Claimant(self.name, models or ("landscapes",)), limit, 0.0)

    def claim_one(self) -> tuple[Job, Lease]:
        [job] = self.claim()
        return job, Lease(job.id, job.fence)

    def beat(self, *leases: Lease, **said: Any) -> list[Lease]:
        return self.store.heartbeat(WorkerReport(self.name, "ready", 0.0, **said), leases, 0.0)

    def post(self, verb: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.link.url}/v1/worker/{verb}", json=body, headers=self.key.headers, timeout=60.0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "site", auth="keys", max_worker_object_mb=LIMIT_MB) as found:
        yield found


@pytest.fixture
def far(site: Site) -> Iterator[Far]:
    worker = Far(known(site, "machines", "worker"), site.url)
    yield worker
    worker.link.close()


def insert(site: Site, *ids: str, **said: Any) -> None:
    given = {"tenant": "ann", "model": "landscapes", "task": "text-to-image", "input": dict(PROMPT), "steps": 4, **said}
    now = site.gateway.clock()
    assert all(isinstance(each, Job) for each in site.store.insert([NewJob(id=each, **given) for each in ids], now))


def put_output(far: Far, lease: Lease, number: int = 0) -> Artifact:
    key = key_for_output(lease.job_id, lease.fence, number, ".png")
    far.storage.put(key, picture(), "image/png")
    return Artifact("mine", "somebody", key, "image/png", 1, 0.0, lease.job_id, 256, 256, 7)


def begin_put(site: Site, key: str, holder: Holder, body: bytes, length: int) -> socket.socket:
    """A PUT of so many bytes, of which some are sent."""
    connection = socket.create_connection(("127.0.0.1", int(site.url.rsplit(":", 1)[1])), timeout=60)
    said = {"Host": "localhost", "Content-Length": str(length), "Connection": "close", **holder.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    connection.sendall(f"PUT /v1/worker/objects/{key} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return connection


# ---- the wire ----


def test_who_claims_at_one_gateway_and_waits_at_another_does_not_spin(site: Site, far: Far, tmp_path: Path) -> None:
    url = site.parts.settings.store_url
    with closing(open_store(url)) as store, open_site(tmp_path / "b", store=store, auth="keys") as second:
        wait_until(lambda: second.http.get("/auth/me", headers=far.key.headers).status_code == 200)
        there = Far(far.key, second.url)

        def wait(timeout_s: float) -> None:
            body = wire.WAIT_FOR_WORK.body.dump_json(wire.WaitBody(far.name, timeout_s))
            there.link.ask(Ask("POST", "/wait_for_work", body, wait_s=timeout_s))

        assert far.claim() == []
        wait(0.1)  # the first is answered at once: nobody has looked there until now
        began = time.monotonic()
        for _ in range(6):
            wait(0.5)
        assert time.monotonic() - began > 1.5
        thread = threading.Thread(target=wait, args=(20.0,))
        thread.start()
        insert(site, "j1")
        thread.join(15.0)  # a poll alone would take 20
        assert not thread.is_alive()
        there.link.close()


def test_a_worker_waits_in_its_own_name_alone(site: Site, far: Far) -> None:
    answer = far.post("wait_for_work", worker="gpu-of-another", timeout_s=0.1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_between_two_claims_in_vain_there_is_a_floor(far: Far) -> None:
    began = time.monotonic()
    assert [far.claim() for _ in range(4)] == [[]] * 4
    assert time.monotonic() - began >= 3 * FLOOR_S


def test_a_long_job_is_never_handed_out_twice_however_many_came_since(site: Site, far: Far) -> None:
    with cutting(site.url) as proxy:
        worker = Far(far.key, proxy.url)
        insert(site, "long")
        _, long = worker.claim_one()
        insert(site, *(f"j{n}" for n in range(64)))
        for _ in range(18):  # more claims than anybody would remember
            leases = [Lease(job.id, job.fence) for job in worker.claim(64)]
            assert site.store.release(leases, "the worker drains", time.time()) == 64
            assert worker.beat(long) == []
        proxy.rule = lambda line, before, now: 0 if "/claim" in line else None
        with pytest.raises(StoreUnavailable):
            worker.claim()
        proxy.rule = lambda line, before, now: None
        [job] = worker.claim()
        assert job.id != "long"
        worker.link.close()


def test_a_deadline_is_told_by_the_workers_clock(tmp_path: Path) -> None:
    with open_site(tmp_path, parts={"clock": lambda: time.time() + 3600.0}) as site:
        insert(site, "j1", deadline_at=time.time() + 3600.0 + 100.0)
        with closing(HttpStore(Link(site.url))) as store:
            [job] = store.claim(Claimant("w1", ("landscapes",)), 1, 0.0)
        assert job.deadline_at is not None
        assert 90.0 < job.deadline_at - time.time() < 101.0


def test_a_revoked_key_ends_a_worker_that_has_jobs_too(site: Site, far: Far) -> None:
    site.store.revoke_key(far.key.id, time.time())
    wait_until(lambda: site.http.get("/auth/me", headers=far.key.headers).status_code == 401)
    with pytest.raises(Unauthorised):
        far.store.cancelling(far.name)


# ---- bytes ----


def test_objects_are_read_in_parts(site: Site, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    key, data = key_for_adapter("neon", "0" * 64), bytes(range(256)) * 4096
    site.storage.put(key, data, "application/octet-stream")

    def whole(_: str) -> bytes:
        raise StorageUnavailable("all of it in memory")

    monkeypatch.setattr(site.storage, "get", whole)
    assert far.storage.get(key) == data


def test_a_part_of_an_object_is_read_without_the_rest(site: Site, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    key, data = key_for_adapter("neon", "0" * 64), bytes(range(256)) * 4096
    site.storage.put(key, data, "application/octet-stream")
    asked, stream = list[range | None](), site.storage.stream

    def noted(key: str, only: range | None = None) -> Iterator[bytes]:
        asked.append(only)
        return stream(key, only=only)

    monkeypatch.setattr(site.storage, "stream", noted)
    parts = [range(1), range(700, 707), range(len(data) - 9, len(data))]
    assert [b"".join(far.storage.stream(key, only=part)) for part in parts] == [data[p.start : p.stop] for p in parts]
    assert asked == parts


@pytest.mark.parametrize(
    ("said", "status", "length"),
    [("bytes=0-9", 206, 10), ("bytes=-5", 206, 5), ("bytes=96-200", 206, 4), ("lines=1-2", 200, 100)],
)
def test_a_range_is_answered_as_users_are(site: Site, far: Far, said: str, status: int, length: int) -> None:
    key = key_for_adapter("neon", "1" * 64)
    site.storage.put(key, bytes(100), "application/octet-stream")
    url, headers = f"{site.url}/v1/worker/objects/{key}", {**far.key.headers, "Range": said}
    answer = httpx.get(url, headers=headers)
    assert (answer.status_code, len(answer.content)) == (status, length)
    assert answer.headers.get("content-range", "/100").endswith("/100")


def test_a_part_that_is_not_there_is_refused_by_name(site: Site, far: Far) -> None:
    key = key_for_adapter("neon", "2" * 64)
    site.storage.put(key, bytes(100), "application/octet-stream")
    with pytest.raises(BadInput, match="100 bytes"):
        list(far.storage.stream(key, only=range(100, 107)))


def test_what_workers_send_keeps_no_user_out(tmp_path: Path) -> None:
    mib = 64 / KIB
    bounds = {"max_upload_mb": mib, "max_body_mb": mib, "max_bodies_mb": 4 * mib, "max_worker_object_mb": mib}
    with open_site(tmp_path, auth="keys", **bounds) as site, ExitStack() as stack:
        ann = known(site, "ann")
        for number in range(6):
            holder = known(site, f"machines-{number}", "worker")
            stack.enter_context(begin_put(site, f"outputs/j{number}/1-0.png", holder, b"x" * 60 * KIB, 64 * KIB))
        eve = known(site, "eve", "worker")
        url = f"{site.url}/v1/worker/objects/outputs/j/1-0.png"
        wait_until(lambda: httpx.put(url, content=b"x" * 20 * KIB, headers=eve.headers).status_code == 503)
        assert site.http.post("/v1/uploads", content=picture(), headers=ann.headers).status_code == 201


def test_a_body_that_comes_after_its_job_has_ended_replaces_nothing(site: Site, far: Far) -> None:
    insert(site, "j1")
    _, lease = far.claim_one()
    output = put_output(far, lease)
    with begin_put(site, output.key, far.key, b"la", 4) as late:
        time.sleep(0.2)  # so that all before the body has been looked at
        assert far.store.complete(lease, [output], {}, 0.0).state == JobState.SUCCEEDED
        late.sendall(b"te")
        said = b"".join(iter(lambda: late.recv(4096), b"")).decode()
    assert said.startswith("HTTP/1.1 409 "), said
    assert site.storage.get(output.key) == picture()


def test_a_worker_stores_no_more_pictures_than_its_job_makes(site: Site, far: Far) -> None:
    insert(site, "j1", input={**PROMPT, "num_images_per_prompt": 2})
    _, lease = far.claim_one()
    first, second = put_output(far, lease), put_output(far, lease, 1)
    for name in ("1-2.png", "1-00.png", "01-0.png", "tape-1-2.safetensors"):
        with pytest.raises(BadInput):
            far.storage.put(f"outputs/j1/{name}", b"x", "image/png")
    with pytest.raises(BadInput, match="two have one key"):
        far.store.complete(lease, [first, first], {}, 0.0)
    third = replace(first, key=key_for_output("j1", lease.fence, 2, ".png"))
    with pytest.raises(BadInput, match="makes 2"):
        far.store.complete(lease, [third], {}, 0.0)
    assert len(far.store.complete(lease, [first, second], {}, 0.0).outputs) == 2


# ---- what is said, and how much ----


def test_a_figure_out_of_shape_costs_no_lease(site: Site, far: Far) -> None:
    insert(site, "j1")
    job, lease = far.claim_one()
    odd = {"memory": "much", "device": "d" * 1000, "busy_share": 0.5, "rows": {"landscapes": -1}, "ticks": [{}]}
    report = {
        "id": far.name,
        "state": "ready",
        "at": None,
        "models": ["landscapes"],
        "step_seconds": {"landscapes": None},
    }
    answer = far.post("heartbeat", report={**report, "facts": odd}, leases=[{"job_id": "j1", "fence": lease.fence}])
    assert (answer.status_code, answer.json()) == (200, [])
    [kept] = [each for each in site.store.workers(time.time() - 60) if each.id == far.name]
    assert (kept.state, kept.models, kept.step_seconds, kept.facts) == (
        "ready",
        ("landscapes",),
        {},
        {"busy_share": 0.5},
    )
    found = site.store.get("j1")
    assert found is not None
    assert found.lease_until is not None
    assert job.lease_until is not None
    assert found.lease_until > job.lease_until


def test_a_lease_that_is_said_twice_is_refused(site: Site, far: Far) -> None:
    with pytest.raises(StoreUnavailable, match="once"):
        far.beat(Lease("j1", 1), Lease("j1", 1))


def test_a_worker_holds_so_many_leases_and_no_more(site: Site, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.gateway.joined.MOST_HELD", 3)
    insert(site, *(f"j{n}" for n in range(9)))
    jobs = [*far.claim(2), *far.claim(2)]
    assert len(jobs) == 3
    assert far.claim(2) == []
    far.store.fail(Lease(jobs[0].id, jobs[0].fence), {"code": "internal", "message": "x"}, {}, 0.0, None)
    assert len(far.claim(2)) == 1


def test_a_key_speaks_for_so_many_workers_and_no_more(site: Site, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.gateway.joined.MOST_WORKERS", 2)
    workers = [Far(far.key, site.url, name) for name in ("a", "b", "c")]
    assert [workers[0].claim(), workers[1].beat()] == [[], []]
    for refused in (workers[2].claim, workers[2].beat):
        with pytest.raises(StoreUnavailable, match="speaks for 2 workers already"):
            refused()
    assert workers[0].claim() == []
    for worker in workers:
        worker.link.close()


def test_a_worker_speaks_of_this_gateways_models_alone(site: Site, far: Far) -> None:
    insert(site, "j1", model="elsewhere")
    assert far.claim(1, "elsewhere") == []
    paces = {"elsewhere": 0.1, "landscapes": 0.2}
    said = {"models": tuple(paces), "loaded": ("elsewhere",), "step_seconds": paces, "facts": {"rows": paces}}
    assert far.beat(**said) == []
    [kept] = [each for each in site.store.workers(time.time() - 60) if each.id == far.name]
    assert (kept.models, kept.loaded) == (("landscapes",), ())
    assert (kept.step_seconds, kept.facts) == ({"landscapes": 0.2}, {"rows": {"landscapes": 0.2}})


# ---- joining ----


def own_settings(home: Path) -> Settings:
    return settings_in(home, store="http://127.0.0.1:1")


def test_a_gateway_tells_the_revisions_of_the_models_that_are_asked_for(site: Site, far: Far, tmp_path: Path) -> None:
    ours = catalogue(own_settings(tmp_path)).find("landscapes").revision()
    assert ask(far.link, ("landscapes", "elsewhere")).revisions == {"landscapes": ours}
    assert ask(far.link).revisions == {}


def test_a_worker_whose_files_are_others_does_not_join(tmp_path: Path) -> None:
    told = wire.Joining("0", "", ("landscapes",), "landscapes", {}, revisions={"landscapes": "f" * 64})
    ours = catalogue(own_settings(tmp_path)).find("landscapes").revision()
    with pytest.raises(InvalidConfig, match=f"{ours[:12]}.*ffffffffffff") as caught:
        with_said(own_settings(tmp_path), told)
    assert caught.value.field == "models"


def test_workers_of_two_gateways_share_a_home(tmp_path: Path) -> None:
    checks = [with_said(own_settings(tmp_path), told_to_check(name)).safety for name in ("ann", "eve")]
    assert [read_rules(each).checked_tenants for each in checks] == [{"ann": True}, {"eve": True}]


def told_to_check(tenant: str) -> wire.Joining:
    return wire.Joining("0", "", ("landscapes",), "landscapes", {}, checked_tenants={tenant: True})

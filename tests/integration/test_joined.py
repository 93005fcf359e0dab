"""What a worker's key opens over HTTP, and what it does not: verbs of the store and bytes of its own jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.config import load
from darkroom.core import Artifact, Job, JobState, Lease, WorkerReport
from darkroom.errors import (
    BadInput,
    Forbidden,
    InvalidConfig,
    LeaseLost,
    NotFound,
    StorageUnavailable,
    StoreUnavailable,
    TooLarge,
    Unauthorised,
    UnknownModel,
)
from darkroom.jobs import wire
from darkroom.jobs.http import HttpStore
from darkroom.jobs.store import Claimant, JobFilter, StepDone
from darkroom.safety import read_rules
from darkroom.storage.http import HttpStorage
from darkroom.storage.link import Link
from darkroom.storage.objects import key_for_adapter, key_for_output, key_for_upload
from darkroom.storage.tapes import key_for_tape
from darkroom.worker.joining import join, with_said

from .callers import Holder, add_key
from .cutting_proxy import cutting
from .gateway_site import PROMPT, Site, open_site, picture, wait_until

VERBS = ("claim", "heartbeat", "get", "complete", "release_worker", "wait_for_work", "clock", "nonsense")
WAYS_OUT = ("../jobs.sqlite3", "%2e%2e/jobs.sqlite3", "..%2Fjobs.sqlite3", "/etc/passwd", "outputs/%2e%2e/%2e%2e/x.png")
STRANGERS_KEYS = ("adapters/neon/about.json", "outputs/job-x/1-0.png", "uploads/some.png", "probe/x", "url-secret")


class Far:
    """A worker with a key of its own, far away."""

    def __init__(self, site: Site, url: str = "", *roles: str) -> None:
        self.key = add_key(site.store, "machines", *(roles or ("worker",)))
        self.link = Link(url or site.url, self.key.shown)
        self.store, self.storage = HttpStore(self.link, look_s=0.0), HttpStorage(self.link, again_s=0.0)
        self.name = f"gpu-{self.key.id}"

    def claim(self, limit: int = 1) -> list[Job]:
        return self.store.claim(Claimant(self.name, ("landscapes",), ("landscapes",)), limit, 0.0)

    def claim_one(self) -> tuple[Job, Lease]:
        [job] = self.claim()
        return job, Lease(job.id, job.fence)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site"), auth="keys", max_worker_object_mb=0.25) as found:
        yield found


@pytest.fixture(scope="module")
def user(site: Site) -> Holder:
    return add_key(site.store, "ann")


@pytest.fixture(scope="module")
def machines(site: Site) -> Iterator[tuple[Far, Far]]:
    """Two workers far away, each with its own key, which the gateway has read."""
    two = Far(site), Far(site)
    for worker in two:
        wait_until(lambda worker=worker: knows(site, worker.key))
    yield two
    for worker in two:
        worker.link.close()


@pytest.fixture
def far(site: Site, machines: tuple[Far, Far]) -> Iterator[Far]:
    """A worker with nothing in flight, and nothing queued; afterwards too."""
    worker, _ = machines
    worker.store = HttpStore(worker.link, look_s=0.0)
    yield worker
    end_all(site)


@pytest.fixture
def other(machines: tuple[Far, Far], far: Far) -> Far:
    return machines[1]


def knows(site: Site, key: Holder) -> bool:
    """Whether the gateway has read that key."""
    return site.http.get("/auth/me", headers=key.headers).status_code == 200


def end_all(site: Site) -> None:
    """Cancel whatever is live."""
    for state in (JobState.QUEUED, JobState.RUNNING):
        for job in site.store.list_jobs(JobFilter(state=state)).jobs:
            site.store.cancel(job.id, time.time())
            if job.state == JobState.RUNNING:
                site.store.confirm_cancelled(Lease(job.id, job.fence), {}, time.time())


def submit(site: Site, user: Holder, **inputs: Any) -> str:
    return str(site.submit(inputs, user.headers)["id"])


def upload(site: Site, user: Holder) -> str:
    answer = site.http.post("/v1/uploads", content=picture(), headers=user.headers)
    return str(answer.json()["artifact_id"])


def put_output(far: Far, lease: Lease, number: int = 0) -> Artifact:
    key, data = key_for_output(lease.job_id, lease.fence, number, ".png"), picture()
    far.storage.put(key, data, "image/png")
    return Artifact("mine", "somebody", key, "image/png", 1, 0.0, "another-job", 256, 256, 7)


# ---- who may ----


@pytest.mark.parametrize(
    "method_path", [*(("POST", verb) for verb in VERBS), ("GET", "settings"), ("GET", "objects/x")]
)
def test_a_users_key_opens_nothing_of_the_workers(site: Site, user: Holder, method_path: tuple[str, str]) -> None:
    method, path = method_path
    wait_until(lambda: knows(site, user))
    status, error = site.refused(method, f"/v1/worker/{path}", headers=user.headers)
    assert (status, error["code"]) == (403, "forbidden")
    assert site.refused(method, f"/v1/worker/{path}")[0] == 401


def test_an_operators_key_speaks_for_any_worker(site: Site) -> None:
    near = Far(site, "", "operator")
    wait_until(lambda: knows(site, near.key))
    assert near.store.cancelling("worker-0") == []
    near.link.close()


def test_a_workers_key_speaks_for_its_own_workers_alone(site: Site, far: Far, other: Far) -> None:
    for name in (other.name, "worker-0-1a2b", f"{far.name}x"):
        with pytest.raises(Forbidden, match="this key speaks for workers whose id ends with"):
            far.store.claim(Claimant(name, ("landscapes",)), 1, 0.0)
        with pytest.raises(StoreUnavailable, match="this key speaks"):
            far.store.heartbeat(WorkerReport(name, "ready", 0.0), [], 0.0)
        with pytest.raises(StoreUnavailable, match="this key speaks"):
            far.store.release_worker(name, "it is mine", 0.0)
    assert not [report for report in site.store.workers(0.0) if report.id == other.name]
    assert far.store.heartbeat(WorkerReport(far.name, "ready", 0.0), [], 0.0) == []


def test_a_revoked_key_ends_a_worker_at_its_next_claim(site: Site) -> None:
    far = Far(site)
    wait_until(lambda: knows(site, far.key))
    site.store.revoke_key(far.key.id, time.time())
    wait_until(lambda: not knows(site, far.key))
    with pytest.raises(Unauthorised):
        far.claim()
    with pytest.raises(StoreUnavailable):  # what ends a worker in order goes on
        far.store.release([], "it ends", 0.0)
    far.link.close()


# ---- whose jobs and bytes ----


def test_a_worker_reads_and_writes_nothing_of_anothers_job(site: Site, user: Holder, far: Far, other: Far) -> None:
    given = upload(site, user)
    job_id = submit(site, user, image=given)
    job, lease = far.claim_one()
    tape, key = key_for_tape(job_id, lease.fence, 0), key_for_output(job_id, lease.fence, 0, ".png")
    source = site.store.artifact(given)
    assert source is not None
    far.storage.put(tape, b"tape", "application/octet-stream")

    assert other.store.get(job_id) is None
    assert other.store.artifact(given) is None
    assert other.store.heartbeat(WorkerReport(other.name, "ready", 0.0), [lease], 0.0) == [lease]
    for read in (source.key, tape, key):
        with pytest.raises(NotFound):
            other.storage.get(read)
    for write in (lambda: other.storage.put(key, b"x", "image/png"), lambda: other.storage.delete([tape])):
        with pytest.raises(LeaseLost):
            write()
    for end in (
        lambda: other.store.complete(lease, [], {}, 0.0),
        lambda: other.store.fail(lease, {"code": "internal", "message": "x"}, {}, 0.0, None),
        lambda: other.store.confirm_cancelled(lease, {}, 0.0),
        lambda: other.store.add_warnings(lease, ["x"]),
    ):
        with pytest.raises(LeaseLost):
            end()
    assert other.store.release([lease], "mine", 0.0) == 0
    with pytest.raises(LeaseLost):
        list(other.storage.list(f"outputs/{job_id}"))

    assert far.store.artifact(given) == source
    assert far.storage.get(source.key) == site.storage.get(source.key)
    assert list(far.storage.list(f"outputs/{job_id}")) == [tape]
    done = far.store.complete(lease, [put_output(far, lease)], {"device_s": 1.5}, 0.0)
    assert (done.state, job.tenant) == (JobState.SUCCEEDED, "ann")
    with pytest.raises(NotFound):
        far.storage.get(source.key)  # the job is over, and with it what it needed
    with pytest.raises(LeaseLost):
        far.storage.delete([key])  # an output is its owner's
    far.storage.delete([tape])
    assert list(site.storage.list(f"outputs/{job_id}")) == [key]


@pytest.mark.parametrize("key", WAYS_OUT)
def test_no_key_leads_out_of_the_storage(site: Site, far: Far, key: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        url = httpx.URL(site.url).copy_with(raw_path=f"/v1/worker/objects/{key}".encode())
        answer = site.http.request(method, url, headers=far.key.headers, content=b"x" if method == "PUT" else None)
        assert answer.status_code in (400, 404, 405), (method, answer.text)
    assert site.store.check() is None  # the database is where it was


@pytest.mark.parametrize("key", STRANGERS_KEYS)
def test_a_worker_reads_no_object_that_none_of_its_jobs_needs(site: Site, far: Far, key: str) -> None:
    site.storage.put(key, b"somebody's", "application/octet-stream")
    with pytest.raises(NotFound):
        far.storage.get(key)
    with pytest.raises((BadInput, LeaseLost)):
        far.storage.put(key, b"x", "image/png")
    assert site.storage.get(key) == b"somebody's"


def test_adapters_are_there_for_workers(site: Site, far: Far) -> None:
    key = key_for_adapter("neon", "0" * 64)
    site.storage.put(key, b"weights", "application/octet-stream")
    assert far.storage.get(key) == b"weights"
    with pytest.raises(BadInput):
        far.storage.put(key, b"other weights", "application/octet-stream")


def test_what_a_lost_claim_left_goes_and_nothing_else(site: Site, user: Holder, far: Far) -> None:
    job_id = submit(site, user)
    _, lease = far.claim_one()
    left = put_output(far, lease).key
    far.store.release([lease], "the worker drains", 0.0)
    [again] = far.claim()
    kept = put_output(far, Lease(job_id, again.fence)).key
    far.storage.delete([left])
    assert list(site.storage.list(f"outputs/{job_id}")) == [kept]


def test_an_object_past_its_limit_is_not_stored(site: Site, user: Holder, far: Far) -> None:
    submit(site, user)
    job, _ = far.claim_one()
    key = key_for_output(job.id, job.fence, 0, ".png")
    with pytest.raises(TooLarge):
        far.storage.put(key, b"x" * (256 * 1024 + 1), "image/png")
    assert list(site.storage.list(f"outputs/{job.id}")) == []


# ---- what is believed ----


@pytest.mark.parametrize(
    "change",
    [
        {"content_type": "text/html"},
        {"content_type": "image/svg+xml"},
        {"key": "uploads/some.png"},
        {"key": key_for_output("job-other", 1, 0, ".png")},
    ],
)
def test_outputs_are_pictures_of_the_claim_alone(site: Site, user: Holder, far: Far, change: dict[str, str]) -> None:
    job_id = submit(site, user)
    _, lease = far.claim_one()
    output = put_output(far, lease)
    with pytest.raises(BadInput, match="outputs"):
        far.store.complete(lease, [replace(output, **change)], {}, 0.0)
    jpeg = replace(output, key=key_for_output(job_id, lease.fence, 0, ".jpg"), content_type="image/jpeg")
    with pytest.raises(BadInput, match="not stored"):
        far.store.complete(lease, [jpeg], {}, 0.0)
    with pytest.raises(BadInput, match="makes 1"):
        far.store.complete(lease, [output, jpeg], {}, 0.0)
    job = far.store.complete(lease, [output], {}, 0.0)
    assert [(each.tenant, each.job_id, each.size) for each in job.outputs] == [("ann", job_id, len(picture()))]
    assert job.outputs[0].id != "mine"
    assert job.outputs[0].created_at > 0.0


def test_a_worker_cannot_make_its_time_count_backwards(site: Site, user: Holder, far: Far) -> None:
    submit(site, user)
    _, lease = far.claim_one()
    with pytest.raises(BadInput, match="metrics"):
        far.store.fail(lease, {"code": "internal", "message": "x"}, {"device_s": -1e6}, 0.0, None)


def test_of_a_reports_facts_those_are_kept_that_are_known(site: Site, far: Far) -> None:
    facts = {"device": "cuda", "kind": "forwarder", "metrics_url": "http://10.0.0.1/", "memory": {"used_bytes": 5}}
    far.store.heartbeat(WorkerReport(far.name, "ready", 1.0, facts=facts), [], 0.0)
    [report] = [each for each in site.store.workers(time.time() - 60) if each.id == far.name]
    assert report.facts == {"device": "cuda", "memory": {"used_bytes": 5}}
    tick = {"n": 7, "at": 1.5, "seconds": 0.1, "module": "unet", "kind": "denoise", "rows": 3, "jobs": [["job-1", 2]]}
    far.store.heartbeat(WorkerReport(far.name, "ready", 1.0, facts={"ticks": [tick]}), [], 0.0)
    [report] = [each for each in site.store.workers(time.time() - 60) if each.id == far.name]
    assert report.facts == {"ticks": [tick]}


def test_what_only_a_jobs_owner_needs_stays_here(site: Site, user: Holder, far: Far) -> None:
    answer = site.http.post(
        "/v1/jobs",
        json={"input": dict(PROMPT), "metadata": {"secret": "mine"}},
        headers={**user.headers, "Idempotency-Key": "a-key-of-mine"},
    )
    assert answer.status_code == 202, answer.text
    job, _ = far.claim_one()
    assert job.id == answer.json()["id"]
    assert (job.metadata, job.idempotency_key, job.key_id, job.webhook) == ({}, None, "", None)


def test_a_verb_that_is_none_and_a_body_that_is_none_are_named(site: Site, far: Far) -> None:
    status, error = site.refused("POST", "/v1/worker/insert", headers=far.key.headers, content=b"{}")
    assert (status, error["code"], error["field"]) == (404, "not_found", "verb")
    assert "claim" in error["message"]
    for body, field in ((b"{", "body"), (b"{}", "claimant"), (b'{"claimant": {"worker": 1}, "limit": 1}', "claimant.")):
        status, error = site.refused("POST", "/v1/worker/claim", headers=far.key.headers, content=body)
        assert (status, error["code"]) == (400, "bad_input")
        assert str(error["field"]).startswith(field), error


# ---- the wire ----


def test_a_claim_whose_answer_was_lost_is_heard_of_again(site: Site, user: Holder) -> None:
    with cutting(site.url) as proxy:
        far = Far(site, proxy.url)
        wait_until(lambda: knows(site, far.key))
        job_id = submit(site, user)
        proxy.rule = lambda line, before, now: 0 if "/claim" in line else None
        with pytest.raises(StoreUnavailable):
            far.claim()
        found = site.store.get(job_id)
        assert found is not None
        assert (found.state, found.worker) == (JobState.RUNNING, far.name)
        proxy.rule = lambda line, before, now: None
        [job] = far.claim()
        assert (job.id, job.fence, job.attempt) == (job_id, found.fence, 1)
        assert far.claim() == []
        far.link.close()
        end_all(site)


def test_a_connection_that_was_closed_meanwhile_is_no_outage(site: Site, user: Holder) -> None:
    with cutting(site.url) as proxy:
        far = Far(site, proxy.url)
        wait_until(lambda: knows(site, far.key))
        cut = []

        def once(line: str, before: bytes, now: bytes) -> int | None:
            if "heartbeat" in line and not cut:
                cut.append(line)
                return 0
            return None

        proxy.rule = once
        assert far.store.heartbeat(WorkerReport(far.name, "ready", 0.0), [], 0.0) == []
        assert cut
        far.link.close()


def test_a_gateway_that_is_away_is_a_store_and_a_storage_that_are(tmp_path: Path) -> None:
    link = Link("http://127.0.0.1:9", "dk_x", timeout_s=2.0)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        HttpStore(link).claim(Claimant("w", ("m",)), 1, 0.0)
    with pytest.raises(StorageUnavailable) as caught:
        HttpStorage(link, again_s=0.0).get(key_for_upload("a", ".png"))
    assert "127.0.0.1" not in caught.value.message  # a job's owner reads it
    link.close()


def test_who_waits_for_work_is_told_of_it(site: Site, user: Holder, far: Far) -> None:
    assert far.claim() == []
    far.store.wait_for_work(0.1)  # the first is answered at once: nobody has looked until now
    assert far.claim() == []
    found: list[Job] = []

    def wait() -> None:
        while not found:
            far.store.wait_for_work(20.0)
            found.extend(far.claim())

    thread = threading.Thread(target=wait)
    thread.start()
    job_id = submit(site, user)
    thread.join(15.0)  # a poll alone would take 20
    assert not thread.is_alive()
    assert [job.id for job in found] == [job_id]


def test_a_cancel_is_told_with_the_answer_to_a_step(site: Site, user: Holder, far: Far) -> None:
    patient = HttpStore(far.link, look_s=3600.0)
    submit(site, user)
    [job] = patient.claim(Claimant(far.name, ("landscapes",)), 1, 0.0)
    lease = Lease(job.id, job.fence)
    assert patient.cancelling(far.name) == []
    site.http.post(f"/v1/jobs/{job.id}/cancel", headers=user.headers)
    assert patient.cancelling(far.name) == []  # it has looked lately
    assert patient.report_steps([StepDone(lease, 1, 4, time.time())]) == []
    assert patient.cancelling(far.name) == [job.id]
    assert patient.confirm_cancelled(lease, {}, 0.0).state == JobState.CANCELLED


# ---- joining ----


def settings_at(folder: Path, url: str, said: str = "", head: str = "") -> Any:
    path = folder / "darkroom.toml"
    path.write_text(f'home = "home"\n{head}\n[serve]\nstore = "{url}"\n{said}\n')
    return load(path)


def test_what_both_must_agree_in_is_the_gateways(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[tenants."ann@x.org"]\ncheck_images = false\nwords = ["secret"]\n')
    with open_site(tmp_path / "gateway", lease_s=60.0, heartbeat_s=7.0, preview_every=9) as site:
        own = settings_at(tmp_path, site.url, "lease_s = 20\nheartbeat_s = 2\nclaim_ahead_s = 3.5\npreview_every = 1")
        settings, worker_id = join(own, "gpu")
    assert worker_id == "gpu"  # nobody is asked for a key there
    said = settings.serve
    assert (said.lease_s, said.heartbeat_s, said.preview_every, said.claim_ahead_s) == (60.0, 7.0, 9, 3.5)
    assert settings.storage_url == settings.store_url == site.url


def test_a_key_ends_the_ids_of_its_workers(site: Site, far: Far, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(far.key.shown)
    settings = settings_at(tmp_path, site.url, 'api_key_file = "key"')
    _, worker_id = join(settings, "gpu")
    assert worker_id == f"gpu-{far.key.id}"
    assert join(settings, worker_id)[1] == worker_id


def test_whose_pictures_are_checked_is_the_gateways_to_say(tmp_path: Path) -> None:
    own = settings_at(tmp_path, "http://127.0.0.1:1", head="[safety]\ncheck_images = false\n")
    told = wire.Joining(
        *("0", "", ("landscapes",), "landscapes", {}),
        check_images=True,
        checked_models={"landscapes": True},
        checked_tenants={'a"b é😀': False},
    )
    rules = read_rules(with_said(own, told).safety)
    assert (rules.check_images, rules.checked_models) == (True, {"landscapes": True})
    assert rules.checked_tenants == {'a"b é😀': False}


def test_who_cannot_join_hears_why_and_what_to_do(site: Site, user: Holder, tmp_path: Path) -> None:
    def joined(url: str, key: str, said: str = "") -> None:
        (tmp_path / "key").write_text(key)
        join(settings_at(tmp_path, url, f'api_key_file = "key"\n{said}'), "gpu")

    wait_until(lambda: knows(site, user))
    with pytest.raises(Unauthorised, match="darkroom keys create NAME --role worker"):
        joined(site.url, f"dk_{'0' * 12}_{'0' * 64}")
    with pytest.raises(Forbidden, match="role worker"):
        joined(site.url, user.shown)
    with pytest.raises(StoreUnavailable, match="is the address right"):
        joined("http://127.0.0.1:9", "")
    with pytest.raises(InvalidConfig, match="is no gateway"):
        joined(f"{site.url}/elsewhere", "")
    with pytest.raises(InvalidConfig, match="no key belongs in a gateway's address"):
        joined("https://dk_1:x@images.example.org", "")
    with pytest.raises(InvalidConfig, match="https://HOST"):
        joined("https://images.example.org?key=1", "")


def test_a_worker_without_a_model_of_the_gateways_does_not_join(tmp_path: Path) -> None:
    told = wire.Joining("0", "", ("sdxl",), "sdxl", {})
    with pytest.raises(UnknownModel, match="it knows sdxl"):
        with_said(settings_at(tmp_path, "http://127.0.0.1:1"), told)

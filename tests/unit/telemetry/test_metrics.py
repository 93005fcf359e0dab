"""What Prometheus is told follows from jobs, workers and batches; over a real store."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from darkroom.core import Event, Lease, NewJob, WorkerReport
from darkroom.errors import InvalidConfig
from darkroom.fleet.nouns import Member, Phase
from darkroom.fleet.told import FleetNote, PoolNote, write_note
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Store
from darkroom.telemetry.metrics import GatewayMetrics
from darkroom.telemetry.pools import LEFT_BEHIND_S
from darkroom.telemetry.worker import WorkerMetrics
from darkroom.worker.events import (
    AttemptEnded,
    BatchRan,
    JobsClaimed,
    LeaseWasLost,
    ModelLeft,
    ModelLoaded,
    StateChanged,
)

JOB = NewJob(id="j-1", tenant="local", model="landscapes", task="text-to-image", input={}, steps=20, cost_s=3.0)
REPORT = WorkerReport(
    "w-1",
    "ready",
    0.0,
    facts={"batches": {"2": 3, "8": 1}, "memory": {"used_bytes": 7, "total_bytes": 28}, "busy_share": 0.5},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    yield store
    store.close()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def run_one(store: Store, metrics: GatewayMetrics) -> None:
    now = time.time()
    store.insert([JOB], now)
    (job,) = store.claim(Claimant("w-1", ("landscapes",)), 1, now + 2)
    store.complete(Lease(job.id, job.fence), [], {"device_s": 1.5, "cost_usd": 0.25}, now + 5)
    metrics.hear(job.id, Event(1, now, "succeeded"))


def test_a_finished_job_is_counted_with_its_time(store: Store) -> None:
    registry = CollectorRegistry()
    run_one(store, GatewayMetrics(registry, store, lambda: True))
    assert value(registry, "diffusion_requests_total", status="success", model="landscapes") == 1
    seconds = {"model": "landscapes", "steps": "20"}
    assert value(registry, "diffusion_generation_duration_seconds_bucket", le="2.0", **seconds) == 0
    assert value(registry, "diffusion_generation_duration_seconds_bucket", le="5.0", **seconds) == 1
    assert value(registry, "darkroom_device_seconds_total", model="landscapes", tenant="local") == 1.5
    assert value(registry, "darkroom_cost_usd_total", model="landscapes", tenant="local") == 0.25


def test_a_cancelled_job_is_counted_with_what_it_took_and_cost(store: Store) -> None:
    registry, now = CollectorRegistry(), time.time()
    metrics = GatewayMetrics(registry, store, lambda: True)
    store.insert([JOB], now)
    (job,) = store.claim(Claimant("w-1", ("landscapes",)), 1, now + 1)
    store.cancel(job.id, now + 2)
    store.confirm_cancelled(Lease(job.id, job.fence), {"device_s": 0.75, "cost_usd": 0.125}, now + 3)
    metrics.hear(job.id, Event(1, now, "cancelled"))
    assert value(registry, "darkroom_cancelled_jobs_total", model="landscapes") == 1
    assert value(registry, "darkroom_device_seconds_total", model="landscapes", tenant="local") == 0.75
    assert value(registry, "darkroom_cost_usd_total", model="landscapes", tenant="local") == 0.125
    assert value(registry, "diffusion_requests_total", status="success", model="landscapes") is None


def test_guests_are_one_series_however_many_they_are(store: Store) -> None:
    registry, now = CollectorRegistry(), time.time()
    metrics = GatewayMetrics(registry, store, lambda: True)
    for digit in "ab":
        store.insert([replace(JOB, id=f"j-{digit}", tenant=f"guest-192.0.2.7-{digit * 16}")], now)
        (job,) = store.claim(Claimant("w-1", ("landscapes",)), 1, now + 1)
        store.complete(Lease(job.id, job.fence), [], {"device_s": 1.5}, now + 2)
        metrics.hear(job.id, Event(1, now, "succeeded"))
    assert value(registry, "darkroom_device_seconds_total", model="landscapes", tenant="(guests)") == 3.0


def test_only_the_leader_counts_and_exports_the_queue(store: Store) -> None:
    registry = CollectorRegistry()
    run_one(store, GatewayMetrics(registry, store, lambda: False))
    assert value(registry, "diffusion_requests_total", status="success", model="landscapes") is None
    assert value(registry, "diffusion_queue_size") is None
    assert value(registry, "darkroom_workers", state="ready") is None
    assert value(registry, "darkroom_store_up") == 1


def test_queue_and_workers_are_read_when_scraped(store: Store) -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry, store, lambda: True)
    store.insert([JOB], time.time() - 10)
    store.heartbeat(replace(REPORT, at=time.time()), [], time.time())
    assert value(registry, "diffusion_queue_size") == 1
    assert value(registry, "darkroom_queue_seconds") == 3.0
    assert (value(registry, "darkroom_queue_age_seconds") or 0) >= 10
    assert value(registry, "darkroom_workers", state="ready") == 1
    assert value(registry, "gpu_memory_used_bytes", gpu_id="0") == 7
    assert value(registry, "gpu_memory_total_bytes", gpu_id="0") == 28
    assert value(registry, "gpu_utilization_percent", gpu_id="0") == 50


def test_a_worker_is_missed_that_fell_silent_and_was_not_to_leave(store: Store) -> None:
    registry, now = CollectorRegistry(), time.time()
    GatewayMetrics(registry, store, lambda: True)
    for name, state, silent_s in (
        ("here", "ready", 1),
        ("lost", "ready", 120),
        ("ended", "stopped", 120),
        ("released", "draining", 120),  # its machine went before its last word
        ("long-lost", "ready", 2000),
    ):
        store.heartbeat(replace(REPORT, id=name, state=state, at=now - silent_s), [], now - silent_s)
    assert value(registry, "darkroom_missed_workers") == 1
    assert value(registry, "darkroom_workers", state="ready") == 1


def test_workers_that_beat_seldom_are_there_for_their_lease(store: Store) -> None:
    registry, now = CollectorRegistry(), time.time()
    GatewayMetrics(registry, store, lambda: True, lease_s=1800.0)
    for name, silent_s in (("here", 500), ("lost", 1900), ("long-lost", 3000)):
        store.heartbeat(replace(REPORT, id=name, at=now - silent_s), [], now - silent_s)
    assert value(registry, "darkroom_workers", state="ready") == 1
    assert value(registry, "darkroom_missed_workers") == 1


def test_failed_jobs_are_counted_by_why_from_zero(store: Store) -> None:
    registry, now = CollectorRegistry(), time.time()
    metrics = GatewayMetrics(registry, store, lambda: True)
    assert value(registry, "darkroom_failed_jobs_total", code="worker_died") == 0
    store.insert([JOB], now)
    (job,) = store.claim(Claimant("w-1", ("landscapes",)), 1, now + 1)
    store.fail(Lease(job.id, job.fence), {"code": "not_finite", "message": "NaN"}, {}, now + 2, None)
    metrics.hear(job.id, Event(1, now, "failed"))
    assert value(registry, "darkroom_failed_jobs_total", code="not_finite") == 1
    assert value(registry, "diffusion_requests_total", status="error", model="landscapes") == 1


def report_batches(store: Store, worker: str, **batches: int) -> None:
    counts = {rows.removeprefix("of_"): count for rows, count in batches.items()}
    store.heartbeat(WorkerReport(worker, "ready", time.time(), facts={"batches": counts}), [], time.time())


def test_batches_of_workers_are_counted_once_however_often_scraped(store: Store) -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry, store, lambda: True)
    generate_latest(registry)
    report_batches(store, "w-1", of_2=3, of_8=1)
    for _ in range(3):
        generate_latest(registry)
    assert value(registry, "diffusion_batch_size_count") == 4
    assert value(registry, "diffusion_batch_size_sum") == 14
    assert value(registry, "diffusion_batch_size_bucket", le="2.0") == 3


def test_what_was_counted_before_the_first_look_or_under_another_leader_is_not_counted_again(store: Store) -> None:
    registry, leads = CollectorRegistry(), [True]
    report_batches(store, "w-1", of_4=1_000_000_000)
    GatewayMetrics(registry, store, lambda: leads[0])
    assert value(registry, "diffusion_batch_size_count") == 0
    report_batches(store, "w-1", of_4=1_000_000_002)
    assert value(registry, "diffusion_batch_size_count") == 2
    leads[0] = False
    report_batches(store, "w-1", of_4=1_000_000_007)
    assert value(registry, "diffusion_batch_size_count") == 2
    leads[0] = True
    report_batches(store, "w-1", of_4=1_000_000_010)
    report_batches(store, "w-2", of_1=4)  # new since
    assert value(registry, "diffusion_batch_size_count") == 9


def test_workers_that_share_a_device_are_one_series(store: Store) -> None:
    registry = CollectorRegistry()
    GatewayMetrics(registry, store, lambda: True)
    for name in ("w-1", "w-2"):
        facts = {**REPORT.facts, "gpu_id": "box:3", "busy_share": 0.4}
        store.heartbeat(replace(REPORT, id=name, at=time.time(), facts=facts), [], time.time())
    store.heartbeat(replace(REPORT, id="w-3", state="stopped", at=time.time(), facts=facts), [], time.time())
    store.heartbeat(WorkerReport("forwarder", "ready", time.time(), facts={}), [], time.time())
    assert value(registry, "gpu_memory_used_bytes", gpu_id="box:3") == 7
    assert value(registry, "gpu_utilization_percent", gpu_id="box:3") == 80
    assert generate_latest(registry).decode().count("gpu_memory_used_bytes{") == 1


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InvalidConfig) as caught:
            WorkerMetrics().serve(address)
    assert caught.value.field == "serve.worker_metrics"
    assert address in caught.value.message


def test_an_address_on_every_interface_is_told_by_the_machine_s_name() -> None:
    told = WorkerMetrics().serve("0.0.0.0:0")
    assert told.rpartition(":")[0] == socket.gethostname()


def test_a_worker_exports_what_happened_to_it() -> None:
    metrics = WorkerMetrics()
    for event in (
        JobsClaimed(3),
        BatchRan("unet", "denoise", 4, 2, 2, 0.1),
        BatchRan("vae", "decode", 1, 0, 1, 0.2),
        ModelLoaded("a", 1.5, 100),
        ModelLoaded("b", 0.25, 100, "host"),
        ModelLeft("b"),
        LeaseWasLost("j"),
        StateChanged("ready"),
        AttemptEnded("j", "a", 1, "r", "succeeded", 2.0, 20, metrics={"device_s": 0.5}),
    ):
        metrics.hear(event)
    with urllib.request.urlopen(f"http://{metrics.serve('127.0.0.1:0')}/metrics") as answer:
        said = answer.read().decode()
    for line in (
        "darkroom_claimed_jobs_total 3.0",
        "darkroom_batch_rows_count 1.0",
        "darkroom_padded_rows_total 2.0",
        'darkroom_busy_seconds_total{kind="decode"} 0.2',
        'darkroom_model_bytes{model="a"} 100.0',
        'darkroom_model_load_seconds_sum{model="a",source="disk"} 1.5',
        'darkroom_model_load_seconds_sum{model="b",source="host"} 0.25',
        "darkroom_lost_leases_total 1.0",
        'darkroom_worker_state{state="ready"} 1.0',
        'darkroom_attempts_total{model="a",status="succeeded"} 1.0',
        'darkroom_job_seconds_total{model="a",part="device"} 0.5',
    ):
        assert line in said
    assert 'darkroom_model_bytes{model="b"}' not in said


def test_a_worker_is_ready_while_it_claims_and_well_while_it_lives() -> None:
    metrics = WorkerMetrics()
    place = metrics.serve("127.0.0.1:0")
    for state, code in (("", 503), ("starting", 503), ("ready", 200), ("draining", 503)):
        if state:
            metrics.hear(StateChanged(state))
        assert status(f"http://{place}/readyz") == code
        assert status(f"http://{place}/healthz") == 200


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_no_address_exports_nothing() -> None:
    assert WorkerMetrics().serve("") == ""


def test_pools_are_told_as_long_as_somebody_scales_them(store: Store) -> None:
    registry, now = CollectorRegistry(), time.time()
    GatewayMetrics(registry, store, lambda: True)
    assert value(registry, "darkroom_pool_wanted_workers", pool="spot") is None
    members = (Member("a", "spot", Phase.READY, now - 9), Member("b", "spot", Phase.STARTING, now))
    pools = (PoolNote("spot", wanted=2, ready_s=7.5, members=members), PoolNote("new"))
    store.note_fleet(write_note(FleetNote(now, "local", "darkroom", 5.0, pools, fault="no_driver: away", strays=2)))
    assert value(registry, "darkroom_pool_wanted_workers", pool="spot") == 2
    assert value(registry, "darkroom_pool_wanted_workers", pool="new") is None
    assert value(registry, "darkroom_pool_workers", pool="spot", state="starting") == 1
    assert value(registry, "darkroom_pool_workers", pool="new", state="ready") == 0
    assert value(registry, "darkroom_pool_ready_seconds", pool="spot") == 7.5
    assert value(registry, "darkroom_fleet_fault") == 1
    assert value(registry, "darkroom_stray_workers") == 2
    store.note_fleet(write_note(FleetNote(now, "local", "darkroom", 5.0, pools)))
    assert value(registry, "darkroom_fleet_fault") == 0
    store.note_fleet(write_note(FleetNote(now - 100, "local", "darkroom", 5.0, pools)))
    assert value(registry, "darkroom_pool_wanted_workers", pool="spot") is None
    assert value(registry, "darkroom_fleet_fault") == 1, "nobody scales it any more"
    store.note_fleet(write_note(FleetNote(now - LEFT_BEHIND_S - 1, "local", "darkroom", 5.0, pools)))
    assert value(registry, "darkroom_fleet_fault") is None, "it was taken away"

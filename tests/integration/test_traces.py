"""One request, followed through gateway, worker and engine: in its trace, in the logs, in its events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .gateway_site import open_site
from .otlp_receiver import Collector, Seen, collecting
from .service import Service, served

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER}-01"
STAGES = ["fetch", "load", "submit", "follow", "check", "encode", "upload", "complete"]
ENGINE = ["engine.queued", "engine.encode", "engine.denoise", "engine.decode"]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def service(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("traced")
    (home / "darkroom.toml").write_text('[serve]\nlog_format = "json"\n')
    # The standard variable, as in any other program; and small batches, so that nobody waits for them.
    with served(home, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100") as made:
        yield made


def run_job(service: Service, headers: dict[str, str], **inputs: Any) -> dict[str, Any]:
    body = {"input": {"prompt": "a lake", "num_inference_steps": 4, "width": 192, "height": 192, **inputs}}
    answer = service.ask("POST", "/jobs", json=body, headers={"Prefer": "wait=120", **headers})
    assert answer.status_code == 200, answer.text
    job: dict[str, Any] = answer.json()
    return job


def named(spans: list[Seen], name: str) -> Seen:
    [found] = [span for span in spans if span.name == name]
    return found


@pytest.mark.slow
def test_a_job_is_one_connected_trace_from_the_client_to_the_engine(service: Service, collector: Collector) -> None:
    job = run_job(service, {"traceparent": TRACEPARENT, "X-Request-Id": "order-17"})
    collector.wait_for(lambda spans: {"attempt", "POST /v1/jobs"} <= {s.name for s in collector.trace(TRACE_ID)})
    spans = collector.trace(TRACE_ID)
    request, attempt, follow = named(spans, "POST /v1/jobs"), named(spans, "attempt"), named(spans, "follow")
    assert (request.service, attempt.service) == ("darkroom-gateway", "darkroom-worker")
    assert (request.parent_id, attempt.parent_id) == (CALLER, request.span_id)
    assert [
        span.name for span in sorted(spans, key=lambda s: s.began_at) if span.parent_id == attempt.span_id
    ] == STAGES
    assert [span.name for span in sorted(spans, key=lambda s: s.began_at) if span.parent_id == follow.span_id] == ENGINE
    assert not any(span.is_error for span in spans)
    for span in (request, attempt):
        assert span.attributes["darkroom.job.id"] == job["id"]
        assert span.attributes["darkroom.request.id"] == "order-17"
    assert request.attributes["http.response.status_code"] == 200
    assert attempt.attributes["darkroom.model"] == "landscapes"
    assert attempt.attributes["darkroom.status"] == "succeeded"
    assert (attempt.attributes["darkroom.steps"], attempt.attributes["darkroom.steps.done"]) == (4, 4)
    assert attempt.attributes["darkroom.device_s"] == pytest.approx(job["metrics"]["device_s"])
    assert follow.attributes["darkroom.rows_per_batch"] >= 1


def test_each_span_lies_within_its_parent(service: Service, collector: Collector) -> None:
    run_job(service, {"traceparent": TRACEPARENT.replace(TRACE_ID, "b" * 32)})
    collector.wait_for(lambda spans: {"attempt", "engine.decode"} <= {s.name for s in collector.trace("b" * 32)})
    spans = collector.trace("b" * 32)
    by_id = {span.span_id: span for span in spans}
    checked = [(span, by_id[span.parent_id]) for span in spans if span.parent_id in by_id]
    for span, parent in checked:
        assert span.began_at <= span.ended_at
        if parent.service == span.service:  # an attempt may outlive the request that asked for it
            assert parent.began_at - 0.01 <= span.began_at, span.name
            assert span.ended_at <= parent.ended_at + 0.01, span.name
    assert len(checked) > len(STAGES)


def test_a_request_without_a_trace_begins_one(service: Service, collector: Collector) -> None:
    job = run_job(service, {})
    spans = collector.wait_for(
        lambda spans: any(s.name == "attempt" and s.attributes["darkroom.job.id"] == job["id"] for s in spans)
    )
    [attempt] = [s for s in spans if s.name == "attempt" and s.attributes["darkroom.job.id"] == job["id"]]
    collector.wait_for(lambda spans: "POST /v1/jobs" in {s.name for s in collector.trace(attempt.trace_id)})
    request = named(collector.trace(attempt.trace_id), "POST /v1/jobs")
    assert (request.parent_id, attempt.parent_id) == ("", request.span_id)
    assert request.attributes["darkroom.request.id"] == job["request_id"]


def test_what_fails_says_so_in_its_trace(service: Service, collector: Collector) -> None:
    trace_id = "c" * 32
    headers = {"traceparent": TRACEPARENT.replace(TRACE_ID, trace_id), "Prefer": "wait=120"}
    body = {"input": {"prompt": "a lake", "num_inference_steps": 1000}, "deadline_s": 1.5}
    answer = service.ask("POST", "/jobs", json=body, headers=headers)
    assert (answer.status_code, answer.json()["state"]) == (200, "failed")
    collector.wait_for(lambda spans: {"attempt", "POST /v1/jobs"} <= {s.name for s in collector.trace(trace_id)})
    attempt = named(collector.trace(trace_id), "attempt")
    assert attempt.is_error
    assert attempt.attributes["error.type"] == "deadline_exceeded"
    assert not named(collector.trace(trace_id), "POST /v1/jobs").is_error  # the gateway did what it was asked


def test_logs_events_and_trace_carry_the_same_ids(service: Service, collector: Collector) -> None:
    trace_id = "d" * 32
    headers = {"traceparent": TRACEPARENT.replace(TRACE_ID, trace_id), "X-Request-Id": "order-18"}
    job = run_job(service, headers)
    collector.wait_for(lambda spans: {"attempt", "POST /v1/jobs"} <= {s.name for s in collector.trace(trace_id)})
    lines = [json.loads(line) for line in list(service.said) if line.startswith("{")]
    about = {line["event"]: line for line in lines if line.get("request_id") == "order-18"}
    assert {"job_accepted", "request", "attempt_began", "attempt_ended"} <= set(about)
    for name in ("job_accepted", "request", "attempt_began", "attempt_ended"):
        assert (about[name]["job_id"], about[name]["trace_id"]) == (job["id"], trace_id), name
    assert {about["job_accepted"]["process"], about["attempt_ended"]["process"].split("-")[0]} == {"gateway", "worker"}
    events = service.ask("GET", f"/jobs/{job['id']}/events").text
    [queued] = [
        json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ") and '"queued"' in line
    ]
    assert queued["request_id"] == "order-18"


def test_health_checks_make_no_spans(service: Service, collector: Collector) -> None:
    service.ask("GET", "/healthz", root=True)
    run_job(service, {"traceparent": TRACEPARENT.replace(TRACE_ID, "e" * 32)})
    collector.wait_for(lambda spans: "attempt" in {s.name for s in collector.trace("e" * 32)})
    assert not any("/healthz" in str(span.attributes.get("url.path")) for span in collector.spans)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (TRACEPARENT, TRACEPARENT),
        ("", ""),
        (f"00-{'0' * 32}-{CALLER}-01", ""),
        (f"ff-{TRACE_ID}-{CALLER}-01", ""),
        (f"{TRACEPARENT}-and-more", ""),
        (TRACEPARENT.upper(), ""),
    ],
)
def test_without_tracing_a_clients_context_still_reaches_the_job(tmp_path: Path, said: str, kept: str) -> None:
    with open_site(tmp_path) as site:
        job_id = site.submit(headers={"traceparent": said} if said else {})["id"]
        job = site.store.get(job_id)
        assert job is not None
        assert job.traceparent == kept

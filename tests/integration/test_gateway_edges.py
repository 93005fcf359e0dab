"""The outermost layers: who may talk to the gateway, what every answer has, faults, health, models, workers, docs."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import HTTPConnection
from websockets.exceptions import InvalidStatus

from darkroom.config import ModelSettings, PresetSettings
from darkroom.errors import DarkroomError, InvariantBroken, StoreCorrupt, StoreUnavailable
from darkroom.gateway.access import Caller
from darkroom.gateway.app import build_app
from darkroom.gateway.keys import draw
from darkroom.jobs.opening import open_store
from darkroom.jobs.redis import RedisStore
from darkroom.models.catalogue import BUNDLED_FOLDER, catalogue
from darkroom.telemetry.metrics import GatewayMetrics

from .gateway_site import PROMPT, Site, open_site, settings_in, wait_until
from .redis_server import RedisServer

SECRET = "a lighthouse nobody may hear of"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house")) as site:
        yield site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as found:
        yield found


# ---- Host and Origin ----


@pytest.mark.parametrize("path", ["/v1/jobs", "/healthz", "/metrics", "/docs", "/nowhere", "/generate"])
def test_a_strange_host_gets_nothing(house: Site, path: str) -> None:
    status, error = house.refused("GET", path, headers={"Host": "evil.example"})
    assert (status, error["code"], error["field"]) == (403, "forbidden", "Host")


@pytest.mark.parametrize("host", ["localhost:8188", "127.0.0.1", "[::1]:8188"])
def test_loopback_names_are_answered_to(house: Site, host: str) -> None:
    assert house.http.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", "http://[", ""])
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("OPTIONS", "/v1/jobs")])
def test_a_page_from_elsewhere_may_not_call(house: Site, method: str, path: str, origin: str) -> None:
    before = house.store.queue()
    status, error = house.refused(method, path, headers={"Origin": origin}, json={"input": PROMPT})
    assert (status, error["code"], error["field"]) == (403, "forbidden", "Origin")
    assert house.store.queue() == before


def test_our_own_page_may_call(house: Site) -> None:
    answer = house.http.post("/v1/jobs", json={"input": PROMPT}, headers={"Origin": house.url})
    assert answer.status_code == 202


def test_sockets_are_under_the_same_rule(house: Site) -> None:
    job_id = house.submit()["id"]
    for path in (f"/v1/jobs/{job_id}/ws", f"/ws/jobs/{job_id}"):
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(InvalidStatus) as caught, house.socket(path, **headers):
                pass
            assert caught.value.response.status_code == 403
            assert json.loads(caught.value.response.body)["error"]["code"] == "forbidden"
        with house.socket(path, Origin=house.url) as connection:
            assert connection.recv(timeout=60)


def test_a_listed_page_may_call_and_read(tmp_path: Path) -> None:
    page = "https://studio.example"
    with open_site(tmp_path, allowed_origins=(page,), allowed_hosts=("darkroom.example",)) as site:
        asked = site.http.options(
            "/v1/jobs", headers={"Origin": page, "Access-Control-Request-Method": "POST", "Host": "darkroom.example"}
        )
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, page)
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "Idempotency-Key" in asked.headers["access-control-allow-headers"]
        answer = site.http.post("/v1/jobs", json={"input": PROMPT}, headers={"Origin": page})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (202, page)
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-origin" not in site.http.get("/v1/jobs").headers
        assert "access-control-allow-credentials" not in answer.headers


# ---- every answer ----


def test_every_answer_has_its_request_id_and_the_careful_headers(house: Site) -> None:
    for path, status in (("/healthz", 200), ("/nowhere", 404), ("/v1/jobs/job-nowhere", 404), ("/docs", 200)):
        answer = house.http.get(path)
        assert answer.status_code == status
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
    said = house.http.get("/healthz", headers={"X-Request-Id": "trace-7"})
    assert said.headers["x-request-id"] == "trace-7"
    assert house.submit(headers={"X-Request-Id": "trace-8"})["request_id"] == "trace-8"


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/", "/v2/jobs", "/v1/jobs/", "/v1/jobs/a/b", "/docs/", "/%ff"])
def test_an_unknown_route_is_not_found(house: Site, path: str) -> None:
    status, error = house.refused("GET", path)
    assert (status, error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/v1/jobs", "POST"), ("GET", "/v1/jobs/x/cancel", "POST"), ("POST", "/healthz", "GET")],
)
def test_a_wrong_method_is_said_with_the_right_one(house: Site, method: str, path: str, allowed: str) -> None:
    status, error = house.refused(method, path)
    assert (status, error["code"]) == (405, "method_not_allowed")
    assert allowed in house.http.request(method, path).headers["allow"]


def test_a_fault_of_ours_says_nothing_of_its_inside_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: HTTPConnection) -> Caller:
        raise RuntimeError(SECRET)

    caplog.set_level(logging.DEBUG)
    with open_site(tmp_path, parts={"identify": broken}) as site:
        status, error = site.refused("GET", "/v1/jobs")
        assert (status, error["code"]) == (500, "internal")
        assert error["request_id"] in error["message"]
        with pytest.raises(InvalidStatus) as caught, site.socket("/v1/jobs/x/ws"):
            pass
        assert caught.value.response.status_code == 500
        assert site.http.get("/healthz").status_code == 200
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(faults) == 2
    assert all("test_gateway_edges.py" in str(record.__dict__["frames"]) for record in faults)
    assert SECRET not in str([record.__dict__ for record in caplog.records])


FORM = {"files": {"image": ("a.png", b"x")}, "data": {"prompt": "a lake"}}
BODIES: dict[str, Any] = {
    "/v1/jobs": {"json": {"input": {"prompt": "a lake"}}},
    "/v1/uploads": {"content": b"x"},
    "/generate": {"json": {"prompt": "a lake"}},
    "/v1/images/generations": {"json": {"prompt": "a lake"}},
    "/v1/images/edits": FORM,
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (RuntimeError(SECRET), 500, "internal"),
        (ValueError(SECRET), 500, "internal"),
        (StoreUnavailable("the store does not answer"), 503, "store_unavailable"),
    ],
)
def test_a_fault_while_the_sender_is_looked_up_is_not_blamed_on_the_body(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, fault: Exception, status: int, code: str
) -> None:
    def broken(_: HTTPConnection) -> Caller:
        raise fault

    with open_site(tmp_path, parts={"identify": broken}) as site:
        answer = site.http.post(path, **BODIES[path])
    assert answer.status_code == status
    if path == "/generate":
        assert isinstance(answer.json()["detail"], str)
    else:
        assert answer.json()["error"]["code"] == code
        assert ("type" in answer.json()["error"]) is path.startswith("/v1/images")
    assert ("retry-after" in answer.headers) is (status == 503)
    assert SECRET not in answer.text + str([record.__dict__ for record in caplog.records])
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == (status == 500)


@pytest.mark.parametrize("path", BODIES)
def test_a_store_that_is_away_when_the_sender_is_looked_up_is_said(tmp_path: Path, path: str) -> None:
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    store = RedisStore(server.url, timeout_s=0.5)
    server.process.kill()
    server.process.wait()
    with open_site(tmp_path, store=store, auth="keys") as site:
        headers = {"Authorization": f"Bearer {draw().shown}"}
        answer = site.http.post(path, headers=headers, **BODIES[path])
    assert (answer.status_code, "store_unavailable" in answer.text) == (503, path != "/generate")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("fault", [StoreCorrupt, InvariantBroken])
@pytest.mark.parametrize("path", ["/v1/jobs/x", "/jobs/x"])
def test_where_our_files_lie_is_for_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: type[DarkroomError], path: str
) -> None:
    def broken(_: HTTPConnection) -> Caller:
        raise fault("the database /var/lib/darkroom/jobs.sqlite3 is damaged")

    with open_site(tmp_path, parts={"identify": broken}) as site:
        answer = site.http.get(path)
    assert (answer.status_code, "/var/lib" in answer.text) == (500, False)
    assert answer.headers["x-request-id"] in answer.text
    [line] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.exc_info is not None
    assert "/var/lib" in str(line.exc_info[1])


def test_prompts_stay_out_of_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_site(tmp_path) as site:
        job_id = site.submit({"prompt": SECRET})["id"]
        site.http.post("/generate", json={"prompt": SECRET, "num_inference_steps": 0})
        site.http.post("/v1/jobs", json={"input": {"prompt": SECRET * 100}})
        site.http.post("/v1/jobs", json={"input": SECRET})
        with site.socket(f"/v1/jobs/{job_id}/ws") as connection:
            connection.recv(timeout=60)
    ours = [record for record in caplog.records if record.name.startswith(("darkroom", "uvicorn"))]
    assert any(record.getMessage() == "request" for record in ours)
    assert SECRET not in str([record.__dict__ for record in ours])


def test_signed_urls_stay_out_of_logs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with open_site(tmp_path) as site:
        site.http.get("/v1/artifacts/art-1?expires=1&signature=hush")
    ours = [record for record in caplog.records if record.name.startswith(("darkroom", "uvicorn"))]
    assert "hush" not in str([record.__dict__ for record in ours])


# ---- health, models, workers ----


def test_ready_means_that_a_worker_is(site: Site) -> None:
    assert site.http.get("/healthz").json() == {"status": "ok"}
    status, error = site.refused("GET", "/readyz")
    assert (status, error["code"]) == (503, "unavailable")
    assert site.http.get("/readyz").headers["retry-after"] == "1"
    site.report("starting")
    assert "starting" in site.refused("GET", "/readyz")[1]["message"]
    site.report("ready")
    assert site.http.get("/readyz").json() == {"status": "ready"}
    site.report("draining")
    assert site.refused("GET", "/readyz")[0] == 503


def test_workers_are_listed_and_can_be_asked_to_drain(site: Site) -> None:
    assert site.http.get("/v1/workers").json() == {"object": "list", "data": []}
    assert site.refused("POST", "/v1/workers/worker-a/drain")[0] == 404
    site.report(step_seconds={"landscapes": 0.25}, facts={"device": "cpu"})
    [worker] = site.http.get("/v1/workers").json()["data"]
    assert (worker["id"], worker["state"], worker["loaded"]) == ("worker-a", "ready", ["landscapes"])
    assert (worker["step_seconds"], worker["facts"]["device"]) == ({"landscapes": 0.25}, "cpu")
    answer = site.http.post("/v1/workers/worker-a/drain")
    assert (answer.status_code, answer.json()) == (202, {"id": "worker-a", "state": "draining"})
    assert site.store.is_asked_to_drain("worker-a")


def test_models_are_listed_as_openai_lists_them_and_described(site: Site) -> None:
    said = site.http.get("/v1/models").json()
    assert said["object"] == "list"
    [model] = said["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("landscapes", "model", "darkroom")
    assert (model["is_loaded"], model["problem"], model["default_size"]) == (False, None, [256, 256])
    site.report()
    time.sleep(1.1)  # an outlook is used for a second
    one = site.http.get("/v1/models/landscapes").json()
    assert one["is_loaded"]
    assert re.fullmatch(r"[0-9a-f]{64}", one["revision"])
    assert one["input"]["properties"]["width"]["enum"] == [192, 256, 320]
    assert one["input"]["properties"]["preset"]["enum"] == list(one["presets"])
    assert "dpm++2m" in one["solvers"]
    assert [320, 192] in one["sizes"]
    status, error = site.refused("GET", "/v1/models/nonesuch")
    assert (status, error["code"], error["field"]) == (404, "unknown_model", "model")


def test_with_several_models_one_must_be_named_and_one_without_files_says_so(tmp_path: Path) -> None:
    from darkroom.gateway.parts import Parts
    from darkroom.jobs.opening import open_store
    from darkroom.storage.objects import open_storage

    from .gateway_site import running

    twin = ModelSettings(
        path=BUNDLED_FOLDER / "landscapes", presets={"only": PresetSettings(num_inference_steps=3)}, sizes=((64, 64),)
    )
    models = {"twin": twin, "far": ModelSettings(hub="nobody/nothing")}
    settings = settings_in(tmp_path).model_copy(update={"models": models})
    store = open_store(settings.store_url)
    parts = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings))
    with running(build_app(parts)) as url, httpx.Client(base_url=url) as http:
        answer = http.post("/v1/jobs", json={"input": PROMPT})
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "model")
        assert "far, landscapes, twin" in answer.json()["error"]["message"]
        job = http.post("/v1/jobs", json={"input": {"prompt": "x"}, "model": "twin"}).json()
        assert (job["model"], job["steps"], job["input"]["width"]) == ("twin", 3, 64)
        answer = http.post("/v1/jobs", json={"input": PROMPT, "model": "far"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert http.post("/generate", json={"prompt": "x"}).status_code == 200  # the default model
        said = {model["id"]: model["problem"] for model in http.get("/v1/models").json()["data"]}
        assert said["twin"] is None
        assert "not here" in said["far"]
        assert http.get("/v1/models/far").json()["revision"] is None
    store.close()


@pytest.mark.slow
def test_metrics_say_that_the_store_is_away(tmp_path: Path) -> None:
    server, registry = RedisServer(tmp_path), CollectorRegistry()
    try:
        store = open_store(server.url)
        GatewayMetrics(registry, store, lambda: True)
        with open_site(tmp_path / "home", store=store, parts={"registry": registry}) as site:
            assert "darkroom_store_up 1.0" in site.http.get("/metrics").text
            server.kill()
            wait_until(lambda: site.gateway.threads.lost is not None)
            answer = site.http.get("/metrics")
            assert (answer.status_code, "darkroom_store_up 0.0" in answer.text) == (200, True)
            server.start()
            wait_until(lambda: "darkroom_store_up 1.0" in site.http.get("/metrics").text)
    finally:
        server.kill()


def test_metrics_are_those_of_the_registry_that_was_handed_in(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    Counter("pictures_framed", "…", registry=registry).inc(3)
    with open_site(tmp_path, parts={"registry": registry}) as site:
        answer = site.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "pictures_framed_total 3.0" in answer.text


# ---- described ----


def test_the_description_has_every_route_and_no_422(house: Site) -> None:
    schema = house.http.get("/openapi.json").json()
    said = {(path, method) for path, methods in schema["paths"].items() for method in methods}
    assert said == {
        ("/v1/jobs", "post"), ("/v1/jobs", "get"), ("/v1/jobs/{job_id}", "get"), ("/v1/jobs/{job_id}", "patch"),
        ("/v1/jobs/{job_id}", "delete"), ("/v1/jobs/{job_id}/cancel", "post"), ("/v1/jobs/{job_id}/events", "get"),
        ("/v1/uploads", "post"), ("/v1/artifacts/{artifact_id}", "get"), ("/v1/artifacts/{artifact_id}", "delete"),
        ("/v1/models", "get"), ("/v1/models/{model}", "get"), ("/v1/adapters", "get"), ("/v1/adapters", "post"),
        ("/v1/adapters/{name}", "delete"),
        ("/v1/workers", "get"), ("/v1/workers/{worker_id}/drain", "post"), ("/healthz", "get"), ("/readyz", "get"),
        ("/metrics", "get"), ("/generate", "post"), ("/jobs/{job_id}", "get"), ("/jobs/{job_id}", "delete"),
        ("/v1/tokens", "post"), ("/v1/usage", "get"), ("/auth/login", "get"), ("/auth/callback", "get"),
        ("/auth/logout", "post"), ("/auth/me", "get"), ("/auth/ways", "get"),
        ("/v1/jobs/{job_id}/webhooks", "get"), ("/v1/jobs/{job_id}/webhooks/{delivery_id}/retry", "post"),
        ("/v1/webhooks/default/secret", "get"), ("/v1/webhooks/default/secret/rotate", "post"),
        ("/v1/events", "get"), ("/v1/fleet", "get"), ("/v1/fleet/cost", "get"),
        ("/v1/images/generations", "post"), ("/v1/images/edits", "post"), ("/v1/images/variations", "post"),
    }  # fmt: skip
    text = json.dumps(schema)
    assert "HTTPValidationError" not in text
    operations = [operation for methods in schema["paths"].values() for operation in methods.values()]
    assert not any("422" in operation["responses"] for operation in operations)
    assert all(operation.get("description") for operation in operations)
    body = schema["components"]["schemas"]["JobBody"]
    assert body["examples"]
    assert body["properties"]["input"]["properties"]["prompt"]["maxLength"] == 2000


def test_the_page_of_routes_needs_nothing_from_elsewhere(house: Site) -> None:
    page = house.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/v1/jobs/{job_id}/events" in page.text
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page.text)
    assert "<script" not in page.text


def test_its_examples_are_accepted(house: Site) -> None:
    schema = house.http.get("/openapi.json").json()["components"]["schemas"]
    for path, shape in (("/v1/jobs", "JobBody"), ("/generate", "GenerateBody")):
        for example in schema[shape]["examples"]:
            assert house.http.post(path, json=example).status_code in (200, 202)


def test_the_gateway_loads_with_torch_uninstalled() -> None:
    blocked = "import sys; sys.modules.update(torch=None, diffusers=None, transformers=None)"
    modules = "darkroom.gateway.app, darkroom.gateway.server"
    run = subprocess.run([sys.executable, "-c", f"{blocked}; import {modules}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

"""Whatever the description allows, and much that it does not, is answered as the description says, and never with 5xx.

Schemathesis makes the requests from the OpenAPI itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ..lora_files import lora
from .callers import known
from .gateway_site import WORKER, Site, open_site, picture
from .openai_site import worker

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the tool's own

EXAMPLES = 25  # requests for each route
KEYED_EXAMPLES = 5
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FAULTS = {not_a_server_error}
IMAGES = ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations")
MEANT = {"/readyz": {503}, **{path: {501} for path in ("/v1/jobs", *IMAGES)}}  # refusals that are no faults

ROUTES = [
    "POST /v1/jobs",
    "GET /v1/jobs",
    "GET /v1/jobs/{job_id}",
    "PATCH /v1/jobs/{job_id}",
    "DELETE /v1/jobs/{job_id}",
    "POST /v1/jobs/{job_id}/cancel",
    "GET /v1/jobs/{job_id}/webhooks",
    "POST /v1/jobs/{job_id}/webhooks/{delivery_id}/retry",
    "GET /v1/webhooks/default/secret",
    "POST /v1/webhooks/default/secret/rotate",
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/fleet",
    "GET /v1/fleet/cost",
    "POST /v1/uploads",
    "GET /v1/artifacts/{artifact_id}",
    "DELETE /v1/artifacts/{artifact_id}",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "GET /v1/adapters",
    "POST /v1/adapters",
    "DELETE /v1/adapters/{name}",
    "GET /v1/workers",
    "POST /v1/workers/{worker_id}/drain",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "POST /v1/tokens",
    "GET /v1/usage",
    "GET /auth/login",
    "GET /auth/callback",
    "POST /auth/logout",
    "GET /auth/me",
    "GET /auth/ways",
    "POST /generate",
    "GET /jobs/{job_id}",
    "DELETE /jobs/{job_id}",
    "POST /v1/images/generations",
    "POST /v1/images/edits",
    "POST /v1/images/variations",
]
ENDLESS = ("GET /v1/events",)  # its answer never ends: tests/integration/test_gateway_all_events.py


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("house"), max_queued=100_000) as found:
        yield found


@pytest.fixture(scope="module")
def described(site: Site) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{site.url}/openapi.json")


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_answers_as_it_is_described(described: schemathesis.BaseSchema, site: Site, route: str) -> None:
    method, path = route.split()
    operation = described[path][method]

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def call(case: schemathesis.Case) -> None:
        answer = case.call(base_url=site.url, timeout=60)
        is_meant = answer.status_code in MEANT.get(path, set())
        case.validate_response(answer, checks=[check for check in CHECKS if check not in FAULTS or not is_meant])

    with worker(site) if path.startswith("/v1/images") else nullcontext():  # those wait for the end of a job
        call()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, dict[str, dict[str, str]]]]:
    """A gateway that asks everybody for a key, and what its callers send."""
    with open_site(tmp_path_factory.mktemp("guarded"), max_queued=100_000, auth="keys") as found:
        user, operator = known(found, "ann"), known(found, "bob", "user", "operator")
        machine = known(found, "machines", "worker")
        callers = {"nobody": {}, "a user": user.headers, "an operator": operator.headers, "a worker": machine.headers}
        yield found, callers


@pytest.mark.parametrize("route", ROUTES)
def test_with_keys_a_route_answers_as_it_is_described(
    described: schemathesis.BaseSchema, guarded: tuple[Site, dict[str, dict[str, str]]], route: str
) -> None:
    site, callers = guarded
    method, path = route.split()

    @settings(max_examples=KEYED_EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(described[path][method].as_strategy(), sampled_from(sorted(callers)))
    def call(case: schemathesis.Case, who: str) -> None:
        case.headers = {**(case.headers or {}), **callers[who]}
        answer = case.call(base_url=site.url, timeout=60)
        is_meant = answer.status_code in MEANT.get(path, set())
        case.validate_response(answer, checks=[check for check in CHECKS if check not in FAULTS or not is_meant])
        assert answer.status_code != 401 or who == "nobody"

    with worker(site) if path.startswith("/v1/images") else nullcontext():
        call()


def test_no_route_is_left_out(described: schemathesis.BaseSchema) -> None:
    said = {f"{operation.ok().method.upper()} {operation.ok().path}" for operation in described.get_all_operations()}
    assert said == {*ROUTES, *ENDLESS}


@pytest.mark.parametrize("route", [route for route in ROUTES if "{" in route and not route.startswith("PATCH")])
def test_what_is_there_is_answered_as_it_is_described(
    described: schemathesis.BaseSchema, site: Site, route: str
) -> None:
    site.report()
    site.submit(webhook="https://hooks.invalid/")
    _, lease = site.claim()
    artifact_id = site.complete(lease).outputs[0].id
    [delivery] = site.store.deliveries(lease.job_id)
    method, path = route.split()
    known = {"job_id": lease.job_id, "artifact_id": artifact_id, "worker_id": WORKER, "model": "landscapes"}
    known["delivery_id"] = delivery.id
    known["name"] = site.gateway.offers.registered.add("ink", "landscapes", lora(1)).name
    case = described[path][method].Case(path_parameters=known)
    answer = case.call(base_url=site.url, timeout=60)
    case.validate_response(answer, checks=CHECKS)
    assert answer.status_code in (200, 202, 204), answer.text


def test_an_upload_is_answered_as_it_is_described(described: schemathesis.BaseSchema, site: Site) -> None:
    case = described["/v1/uploads"]["POST"].Case(body=picture(), media_type="image/png")
    answer = case.call(base_url=site.url, timeout=60)
    case.validate_response(answer, checks=CHECKS)
    assert answer.status_code == 201

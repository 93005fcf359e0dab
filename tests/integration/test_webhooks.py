"""Webhooks over real HTTP: signed, tried again over a restart, never to where they may not go, never held up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from standardwebhooks import Webhook, WebhookVerificationError

from darkroom.core import JobState
from darkroom.gateway.deliveries import FAULT, HOST_THREADS
from darkroom.gateway.webhooks import OVERLAP_S
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits
from darkroom.telemetry.metrics import GatewayMetrics
from tests.integration.callers import add_key
from tests.integration.gateway_site import PATIENCE_S, Site, open_site, wait_until
from tests.integration.redis_server import RedisServer

PRIVATE: dict[str, Any] = {"allow_private_webhooks": True, "webhook_retry_s": 0.2}


class Receiving(BaseHTTPRequestHandler):
    """Answers as `server.answer` says for the path; every call lies in `server.calls`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server: Receiver = self.server  # type: ignore[assignment]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.calls.append((self.path, dict(self.headers), body))
        status, headers = server.answer(self.path)
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Receiver(ThreadingHTTPServer):
    """A receiver of webhooks on loopback."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[str], tuple[int, dict[str, str]]] = lambda _: (204, {})

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_address[1]}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a sender that is stopped hangs up


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def end(site: Site, webhook: Any) -> str:
    """A job with that webhook, made and completed."""
    job_id = str(site.submit(webhook=webhook)["id"])
    _, lease = site.claim()
    assert lease.job_id == job_id
    site.complete(lease)
    return job_id


def deliveries(site: Site, job_id: str) -> list[dict[str, Any]]:
    answer = site.http.get(f"/v1/jobs/{job_id}/webhooks")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def attempted(site: Site, job_id: str, count: int = 1) -> dict[str, Any]:
    """The job's one delivery, once so many attempts have been made."""
    wait_until(lambda: [len(each["attempts"]) >= count for each in deliveries(site, job_id)] == [True])
    return deliveries(site, job_id)[0]


def settled(site: Site, job_id: str) -> list[dict[str, Any]]:
    """Its deliveries, once nothing more is owed."""
    wait_until(lambda: all(each["state"] != "pending" for each in deliveries(site, job_id)))
    return deliveries(site, job_id)


def test_a_call_says_the_job_and_the_official_library_verifies_it(tmp_path: Path, receiver: Receiver) -> None:
    with open_site(tmp_path, public_url="https://pictures.example/api/", **PRIVATE) as site:
        job_id = end(site, receiver.url())
        [delivery] = settled(site, job_id)
        secret = site.http.get("/v1/webhooks/default/secret").json()["key"]
        [(path, headers, body)] = receiver.calls
        said = Webhook(secret).verify(body, headers)
        job = site.job(job_id)
    assert (path, headers["Content-Type"], headers["User-Agent"]) == ("/hook", "application/json", "darkroom")
    assert (said["type"], said["timestamp"]) == ("job.succeeded", job["succeeded_at"])
    assert said["data"]["links"]["self"] == f"https://pictures.example/api/v1/jobs/{job_id}"
    assert said["data"]["outputs"][0]["url"].startswith("https://pictures.example/api/v1/artifacts/")
    mine = {name: value for name, value in said["data"].items() if name not in ("links", "outputs")}
    assert mine == {name: job[name] for name in mine}
    assert set(said["data"]) == set(job)
    assert (delivery["id"], delivery["event"], delivery["state"]) == (headers["webhook-id"], "succeeded", "delivered")
    assert [(made["status"], made["error"]) for made in delivery["attempts"]] == [(204, None)]


def test_a_picture_can_be_fetched_as_the_call_says(tmp_path: Path, receiver: Receiver) -> None:
    with open_site(tmp_path, **PRIVATE) as site:
        job_id = end(site, receiver.url())
        settled(site, job_id)
        url = json.loads(receiver.calls[0][2])["data"]["outputs"][0]["url"]
        assert site.http.get(url.replace("http://127.0.0.1:8188", "")).status_code == 200


@pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled"])
def test_only_the_events_that_were_asked_for_are_told(tmp_path: Path, receiver: Receiver, how: str) -> None:
    with open_site(tmp_path, **PRIVATE) as site:
        job_id = site.submit(webhook={"url": receiver.url(), "events": ["started", how]})["id"]
        other = site.submit(webhook={"url": receiver.url(), "events": ["started"]})["id"]
        _, lease = site.claim()
        if how == "succeeded":
            site.complete(lease)
        elif how == "failed":
            site.store.fail(lease, {"code": "internal", "message": "x", "field": None}, {}, time.time(), None)
        else:
            site.store.cancel(job_id, time.time())
            site.store.confirm_cancelled(lease, {}, time.time())
        wait_until(lambda: len(deliveries(site, job_id)) == 2)
        settled(site, job_id)
        site.store.cancel(other, time.time())
        assert deliveries(site, other) == []
    types = {json.loads(body)["type"] for _, _, body in receiver.calls}
    assert types == {"job.started", f"job.{how}"}
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == 2


def test_a_failed_call_is_made_again_after_a_restart_under_the_same_id(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {})
    with open_site(tmp_path, **{**PRIVATE, "webhook_retry_s": 2.0}) as site:
        job_id = end(site, receiver.url())
        attempted(site, job_id)
    receiver.answer = lambda _: (200, {})
    with open_site(tmp_path, **PRIVATE) as site:
        [delivery] = settled(site, job_id)
        secret = site.http.get("/v1/webhooks/default/secret").json()["key"]
    assert [made["status"] for made in delivery["attempts"]] == [500, 200]
    assert delivery["attempts"][0]["error"] == "127.0.0.1 answered with HTTP status 500"
    assert {headers["webhook-id"] for _, headers, _ in receiver.calls} == {delivery["id"]}
    stamps = [headers["webhook-timestamp"] for _, headers, _ in receiver.calls]
    assert stamps[0] < stamps[1], "each attempt is signed anew"
    for _, headers, body in receiver.calls:
        Webhook(secret).verify(body, headers)


def test_an_answer_that_comes_while_the_gateway_stops_is_noted(tmp_path: Path, receiver: Receiver) -> None:
    def answer(_: str) -> tuple[int, dict[str, str]]:
        time.sleep(1.0)
        return 204, {}

    receiver.answer = answer
    with open_site(tmp_path, **PRIVATE) as site:
        job_id = end(site, receiver.url())
        wait_until(lambda: len(receiver.calls) == 1)
    later = {"clock": lambda: time.time() + 3600}  # whatever was held is free again
    with open_site(tmp_path, parts=later, **PRIVATE) as site:
        [delivery] = settled(site, job_id)
        time.sleep(1.5)  # longer than between looks at the store
    assert (delivery["state"], len(delivery["attempts"]), len(receiver.calls)) == ("delivered", 1, 1)


def test_attempts_end_and_one_more_can_be_asked_for(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {})
    with open_site(tmp_path, webhook_attempts=2, **PRIVATE) as site:
        job_id = end(site, receiver.url())
        [delivery] = settled(site, job_id)
        assert (delivery["state"], delivery["next_at"], len(delivery["attempts"])) == ("given_up", None, 2)
        receiver.answer = lambda _: (200, {})
        path = f"/v1/jobs/{job_id}/webhooks/{delivery['id']}/retry"
        assert site.http.post(path).json()["state"] == "pending"
        [delivery] = settled(site, job_id)
        assert delivery["state"] == "delivered"
        assert site.refused("POST", path)[0] == 409
        assert site.refused("POST", f"/v1/jobs/{job_id}/webhooks/other/retry")[0] == 404
    assert len(receiver.calls) == 3


def test_one_more_may_be_asked_for_once_in_half_a_minute(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {})
    now = [time.time()]
    with open_site(tmp_path, parts={"clock": lambda: now[0]}, webhook_attempts=1, **PRIVATE) as site:
        job_id = end(site, receiver.url())
        now[0] = time.time() + 1  # the end was noted by the real clock
        [delivery] = settled(site, job_id)
        path = f"/v1/jobs/{job_id}/webhooks/{delivery['id']}/retry"
        assert site.http.post(path).status_code == 202
        settled(site, job_id)
        answer = site.http.post(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_busy")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        now[0] += 31
        assert site.http.post(path).status_code == 202
        settled(site, job_id)
        assert len(receiver.calls) == 3


def test_410_is_taken_at_its_word(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (410, {})
    with open_site(tmp_path, **PRIVATE) as site:
        [delivery] = settled(site, end(site, receiver.url()))
    assert (delivery["state"], len(delivery["attempts"])) == ("given_up", 1)


def test_a_receiver_that_asks_for_time_gets_it(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": "7200"})
    with open_site(tmp_path, **PRIVATE) as site:
        job_id = end(site, receiver.url())
        attempted(site, job_id)
        [due] = site.store.deliveries(job_id)
    assert 7100 < due.due_at - time.time() <= 7200


def test_a_receiver_that_asks_for_nonsense_waits_as_after_any_failure(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (503, {"Retry-After": "1 Jan 2026 00:00:00 +99999999999999"})
    with open_site(tmp_path, webhook_attempts=3, **PRIVATE) as site:
        [delivery] = settled(site, end(site, receiver.url()))
    assert [made["status"] for made in delivery["attempts"]] == [503, 503, 503]
    assert (delivery["state"], len(receiver.calls)) == ("given_up", 3)


def test_a_fault_of_ours_is_an_attempt_and_waits_its_turn(tmp_path: Path) -> None:
    def resolver(host: str, port: int) -> Sequence[str]:
        raise ArithmeticError(f"{host}:{port} is a secret")

    with open_site(tmp_path, parts={"resolver": resolver}, webhook_attempts=2, **PRIVATE) as site:
        [delivery] = settled(site, end(site, "http://hooks.example/"))
    assert [made["error"] for made in delivery["attempts"]] == [FAULT, FAULT]
    assert delivery["state"] == "given_up"


def test_a_redirect_that_keeps_the_method_is_followed_and_no_other(tmp_path: Path, receiver: Receiver) -> None:
    places = {"/moved": (308, {"Location": "/hook"}), "/found": (302, {"Location": "/hook"})}
    receiver.answer = lambda path: places.get(path, (200, {}))
    with open_site(tmp_path, webhook_attempts=1, **PRIVATE) as site:
        [moved] = settled(site, end(site, receiver.url("/moved")))
        [found] = settled(site, end(site, receiver.url("/found")))
    assert (moved["state"], found["state"]) == ("delivered", "given_up")
    assert found["attempts"][0]["status"] == 302
    paths, bodies = [path for path, _, _ in receiver.calls], [body for _, _, body in receiver.calls]
    assert paths == ["/moved", "/hook", "/found"]
    assert bodies[0] == bodies[1] != b""


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest/", "http://user:word@127.0.0.1/", "file:///etc/passwd"]
)
def test_a_redirect_to_where_nothing_may_go_is_not_followed(tmp_path: Path, receiver: Receiver, place: str) -> None:
    receiver.answer = lambda _: (307, {"Location": place})
    with open_site(tmp_path, webhook_attempts=1, **PRIVATE) as site:
        [delivery] = settled(site, end(site, receiver.url()))
    assert delivery["state"] == "given_up"
    assert delivery["attempts"][0]["status"] is None
    assert any(words in delivery["attempts"][0]["error"] for words in ("not at a public address", "a URL"))


def test_a_redirect_without_end_is_left(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (307, {"Location": "/hook"})
    with open_site(tmp_path, webhook_attempts=1, **PRIVATE) as site:
        [delivery] = settled(site, end(site, receiver.url()))
    assert "redirects more than 3 times" in delivery["attempts"][0]["error"]
    assert len(receiver.calls) == 4


class Names:
    """A resolver that says something else each time it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = answers, 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return [self.answers[min(self.asked, len(self.answers)) - 1]]


def test_a_name_that_leads_to_a_private_address_is_not_called(tmp_path: Path, receiver: Receiver) -> None:
    with open_site(tmp_path, parts={"resolver": Names("127.0.0.1")}, webhook_attempts=1) as site:
        [delivery] = settled(site, end(site, receiver.url(host="hooks.example", scheme="https")))
    assert (delivery["state"], delivery["attempts"][0]["status"]) == ("given_up", None)
    assert "hooks.example is not at a public address" in delivery["attempts"][0]["error"]
    assert "127.0.0.1" not in delivery["attempts"][0]["error"]
    assert receiver.calls == []


def test_the_connection_goes_to_the_address_that_was_judged(tmp_path: Path, receiver: Receiver) -> None:
    """A name server that changes its answer after the first look (DNS rebinding) changes nothing."""
    names = Names("127.0.0.1", "127.0.0.2")  # nobody listens at the second
    with open_site(tmp_path, parts={"resolver": names}, **PRIVATE) as site:
        [delivery] = settled(site, end(site, receiver.url(host="hooks.example")))
    assert (delivery["state"], len(delivery["attempts"]), names.asked) == ("delivered", 1, 1)
    assert receiver.calls[0][1]["Host"].startswith("hooks.example:")


def test_a_slow_receiver_holds_nobody_up(tmp_path: Path, receiver: Receiver) -> None:
    go, inside, most = threading.Event(), [0], [0]

    def wait(_: str) -> tuple[int, dict[str, str]]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        go.wait(PATIENCE_S)
        inside[0] -= 1
        return 200, {}

    with receiving() as slow, open_site(tmp_path, **{**PRIVATE, "webhook_timeout_s": 30.0}) as site:
        slow.answer = wait
        stuck = [end(site, slow.url(host="localhost")) for _ in range(3 * HOST_THREADS)]
        wait_until(lambda: len(slow.calls) == HOST_THREADS)
        [delivery] = settled(site, end(site, receiver.url()))
        assert delivery["state"] == "delivered"
        assert len(slow.calls) == most[0] == HOST_THREADS
        go.set()
        assert all(settled(site, job_id)[0]["state"] == "delivered" for job_id in stuck)


def test_a_receiver_that_says_nothing_is_left_in_time(tmp_path: Path, receiver: Receiver) -> None:
    go = threading.Event()
    receiver.answer = lambda _: (200 if go.wait(PATIENCE_S) else 500, {})
    with open_site(tmp_path, webhook_attempts=1, webhook_timeout_s=0.3, allow_private_webhooks=True) as site:
        [delivery] = settled(site, end(site, receiver.url()))
        go.set()
    assert (delivery["state"], delivery["attempts"][0]["error"]) == ("given_up", "127.0.0.1 did not answer in time")


def test_attempts_are_counted(tmp_path: Path, receiver: Receiver) -> None:
    registry, answers = CollectorRegistry(), iter([500, 200])
    receiver.answer = lambda _: (next(answers), {})
    with open_site(tmp_path / "spare") as spare:
        metrics = GatewayMetrics(registry, spare.store, lambda: True)
        with open_site(tmp_path, parts={"delivery_hearers": [metrics.hear_delivery]}, **PRIVATE) as site:
            settled(site, end(site, receiver.url()))
            wait_until(lambda: registry.get_sample_value(*counted("delivered")) == 1.0)
    assert registry.get_sample_value(*counted("failed")) == 1.0


def counted(outcome: str) -> tuple[str, dict[str, str]]:
    return "darkroom_webhook_attempts_total", {"outcome": outcome}


def test_a_job_that_is_removed_is_told_of_no_more(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = lambda _: (500, {})
    with open_site(tmp_path, **PRIVATE) as site:
        job_id = end(site, receiver.url())
        attempted(site, job_id)
        assert site.http.delete(f"/v1/jobs/{job_id}").status_code == 204
        assert site.refused("GET", f"/v1/jobs/{job_id}/webhooks")[0] == 404
        count = len(receiver.calls)
        time.sleep(1.0)
        assert len(receiver.calls) <= count + 1, "one may have been on its way"
        assert site.store.get(job_id) is None


def test_calls_are_made_again_over_redis_too(tmp_path: Path, receiver: Receiver) -> None:
    answers = iter([500, 200])
    receiver.answer = lambda _: (next(answers), {})
    server = RedisServer(tmp_path)
    try:
        with open_site(tmp_path, store=open_store(server.url, Limits()), **PRIVATE) as site:
            [delivery] = settled(site, end(site, receiver.url()))
    finally:
        server.kill()
    assert [made["status"] for made in delivery["attempts"]] == [500, 200]


def test_a_job_without_a_webhook_owes_nothing(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        job_id = site.submit()["id"]
        job, lease = site.claim()
        assert job.webhook is None
        assert site.complete(lease).state == JobState.SUCCEEDED
        assert deliveries(site, job_id) == []


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_rotated_secret_and_the_one_before_it_both_verify_for_a_day(
    tmp_path: Path, receiver: Receiver, kind: str
) -> None:
    shift = [0.0]
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis") if kind == "redis" else None
    store = open_store(server.url, Limits()) if server else None
    with open_site(tmp_path, store=store, parts={"clock": lambda: time.time() + shift[0]}, **PRIVATE) as site:
        path = "/v1/webhooks/default/secret"
        first = site.http.get(path).json()
        rotated = site.http.post(f"{path}/rotate").json()
        assert first["previous_until"] is None
        assert rotated["key"] != first["key"]
        assert site.http.get(path).json() == rotated
        settled(site, end(site, receiver.url()))
        [(_, headers, body)] = receiver.calls
        assert len(headers["webhook-signature"].split(" ")) == 2
        for key in (first["key"], rotated["key"]):
            Webhook(key).verify(body, headers)
        shift[0] = OVERLAP_S + 1
        assert site.http.get(path).json() == {"key": rotated["key"], "previous_until": None}
        settled(site, end(site, receiver.url()))
        _, headers, body = receiver.calls[-1]
        assert len(headers["webhook-signature"].split(" ")) == 1
        with pytest.raises(WebhookVerificationError):  # of its time as well: the day is only played
            Webhook(first["key"]).verify(body, headers)
        third = site.http.post(f"{path}/rotate").json()
        fourth = site.http.post(f"{path}/rotate").json()
        settled(site, end(site, receiver.url()))
        _, headers, body = receiver.calls[-1]
        signatures = headers["webhook-signature"].split(" ")
        at = int(headers["webhook-timestamp"])
        made = [signature_of(said["key"], headers["webhook-id"], at, body) for said in (fourth, third, rotated)]
        assert signatures == made[:2]  # who rotates twice is rid of a secret at once
    if server:
        server.kill()


def signature_of(key: str, delivery_id: str, at: int, body: bytes) -> str:
    """As the official library makes it."""
    return Webhook(key).sign(delivery_id, datetime.fromtimestamp(at, UTC), body.decode())


def test_rotating_changes_the_secret_of_ones_own_tenant_alone(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="keys") as site:
        ann, eve = add_key(site.store, "ann"), add_key(site.store, "eve")
        for holder in (ann, eve):
            wait_until(lambda holder=holder: site.http.get("/auth/me", headers=holder.headers).status_code == 200)
        path = "/v1/webhooks/default/secret"
        before = [site.http.get(path, headers=holder.headers).json()["key"] for holder in (ann, eve)]
        assert site.http.post(f"{path}/rotate").status_code == 401
        site.http.post(f"{path}/rotate", headers=ann.headers)
        after = [site.http.get(path, headers=holder.headers).json()["key"] for holder in (ann, eve)]
    assert after[0] != before[0]
    assert after[1] == before[1]

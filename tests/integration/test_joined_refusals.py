"""What a worker does when something that is not its gateway answers, or the gateway refuses what it says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from darkroom.core import Artifact, Job, Lease
from darkroom.errors import StorageUnavailable, StoreUnavailable, Unauthorised
from darkroom.jobs.http import HttpStore
from darkroom.jobs.store import Claimant
from darkroom.storage.http import HttpStorage
from darkroom.storage.link import Link
from darkroom.worker.attempt import Attempt, InFlight
from darkroom.worker.claims import Claims, Prediction
from darkroom.worker.ending import Endings
from darkroom.worker.events import AttemptEnded, StoreFailed, WorkerEvent
from darkroom.worker.step_box import StepBox
from tests.unit.worker.jobs import running_job

KEY = "outputs/j1/1-0.png"
LATE = (409, {"error": {"code": "lease_lost", "message": "another claim followed", "field": None}})
WRONG = (400, {"error": {"code": "bad_input", "message": "what is said is not understood", "field": "limit"}})
UNKNOWN = (401, {"error": {"code": "unauthorised", "message": "no such key", "field": None}})


class Answerer:
    """Answers every request with `status` and `body`, while `rounds` last with these."""

    def __init__(self) -> None:
        self.status, self.body = 404, b"<html>no such host</html>"
        self.rounds: list[tuple[int, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = outer.next()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *said: Any) -> None:
                pass

        for method in ("GET", "POST", "PUT", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def say(self, answer: tuple[int, Any]) -> None:
        self.status, self.body = answer[0], json.dumps(answer[1]).encode()

    def next(self) -> tuple[int, bytes]:
        if self.rounds:
            self.say(self.rounds.pop(0))
        return self.status, self.body


@pytest.fixture
def answerer() -> Iterator[Answerer]:
    found = Answerer()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def store(answerer: Answerer) -> Iterator[HttpStore]:
    with closing(HttpStore(Link(answerer.url), look_s=0.0)) as found:
        yield found


@pytest.fixture
def storage(answerer: Answerer) -> Iterator[HttpStorage]:
    with closing(Link(answerer.url)) as link:
        yield HttpStorage(link, again_s=0.0)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413])
def test_a_page_of_a_proxy_is_no_word_of_the_gateway(
    answerer: Answerer, store: HttpStore, storage: HttpStorage, status: int
) -> None:
    answerer.status = status
    lease = Lease("j1", 1)
    for verb in (
        lambda: store.claim(Claimant("w", ("m",)), 1, 0.0),
        lambda: store.complete(lease, [Artifact("a", "t", KEY, "image/png", 1, 0.0)], {}, 0.0),
        lambda: store.fail(lease, {"code": "internal", "message": "x"}, {}, 0.0, None),
        lambda: store.cancelling("w"),
    ):
        with pytest.raises(StoreUnavailable):
            verb()
    with pytest.raises(StorageUnavailable):
        list(storage.list("outputs/j1"))
    if status != 200:
        for act in (lambda: storage.get(KEY), lambda: storage.put(KEY, b"x", "image/png")):
            with pytest.raises(StorageUnavailable):
                act()


def test_the_claiming_thread_outlives_what_it_is_refused_and_ends_with_a_refused_key(
    answerer: Answerer, store: HttpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("darkroom.worker.claims.AWAY_S", 0.01)
    told: list[WorkerEvent] = []
    claims = Claims(
        store, InFlight(lambda: None), lambda: Claimant("w", ("m",)), Prediction, lambda job: None, told.append, 10.0
    )
    answerer.rounds = [WRONG, LATE, UNKNOWN]
    with pytest.raises(Unauthorised, match="no such key"):
        claims.run()
    assert told == [StoreFailed("claiming")] * 2


def test_the_step_box_outlives_a_report_that_is_refused(answerer: Answerer, store: HttpStore) -> None:
    told: list[WorkerEvent] = []
    heard = threading.Event()

    def tell(event: WorkerEvent) -> None:
        told.append(event)
        heard.set()

    answerer.say(WRONG)
    step_box = StepBox(store, lambda picture: "", tell)
    thread = threading.Thread(target=step_box.run)
    thread.start()
    step_box.put(Lease("j1", 1), 1, 4)
    assert heard.wait(60.0)
    assert thread.is_alive()
    step_box.close()
    thread.join(60.0)
    assert told == [StoreFailed("reporting a step")]


@pytest.mark.parametrize("answer", [LATE, WRONG])
def test_no_attempts_end_is_its_workers_whatever_is_refused(
    answerer: Answerer, store: HttpStore, storage: HttpStorage, answer: tuple[int, Any]
) -> None:
    told: list[WorkerEvent] = []
    job: Job = running_job()
    endings = Endings(
        store,
        storage,
        retry_s=1.0,
        price_per_hour_usd=0.0,
        tell=told.append,
        doomed=lambda error: None,
        giving_up=threading.Event(),
    )
    attempt = Attempt(job)
    attempt.keys = [KEY]
    answerer.say(answer)
    endings.fail(attempt, ValueError("the pipeline's own"))
    assert [event.status for event in told if isinstance(event, AttemptEnded)] == ["lost"]

"""Events over SSE and WebSocket: resumed, shared, slow, dead, and across an outage of the store."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from darkroom.core import Event
from darkroom.gateway import answers
from darkroom.gateway.events import Feed
from darkroom.gateway.listeners import PENDING
from darkroom.gateway.streams import EventStream
from darkroom.gateway.threads import Threads
from darkroom.jobs.opening import open_store

from .gateway_site import PREVIEW, Site, events_of, open_site, played, wait_until
from .redis_server import RedisServer


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as found:
        yield found


def heard(site: Site, job_id: str, **what: Any) -> list[dict[str, Any]]:
    """All that the SSE stream sends."""
    with site.http.stream("GET", f"/v1/jobs/{job_id}/events", **what) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        return events_of(answer.iter_lines())


def received(connection: ClientConnection) -> list[dict[str, Any]]:
    """All that a WebSocket sends, to its close; and that it was closed for a good reason."""
    found = [json.loads(text) for text in connection]  # ends at an orderly close, and raises at any other
    assert connection.close_code == 1000
    return found


def test_a_late_subscriber_hears_the_whole_past_in_order_and_the_stream_ends(site: Site) -> None:
    events = heard(site, played(site))
    kinds = [event["type"] for event in events if event["type"] not in ("progress", "preview")]
    assert kinds == ["queued", "started", "output", "succeeded"]
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers))
    started = next(event for event in events if event["type"] == "started")
    assert (started["worker"], started["attempt"]) == ("worker-a", 1)
    last = [event for event in events if event["type"] == "progress"][-1]
    assert (last["step"], last["steps"], last["progress"]) == (4, 4, 1.0)
    assert all(event["at"].endswith("Z") for event in events)
    assert sum(event["type"] == "preview" for event in events) == 1  # of previews only the latest


def test_a_job_of_more_steps_than_the_store_tells_at_once_is_heard_to_its_end(site: Site) -> None:
    job_id = str(site.submit()["id"])
    _, lease = site.claim()
    for step in range(1, 1101):
        site.step(lease, step, 1140)
    with site.socket(f"/v1/jobs/{job_id}/ws") as joined_midway:
        for step in range(1101, 1141):
            site.step(lease, step, 1140)
        site.complete(lease)
        said = received(joined_midway)
    for events in (said, heard(site, job_id)):
        assert [event["step"] for event in events if event["type"] == "progress"] == [*range(1, 1141)]
        assert events[-1]["type"] == "succeeded"


def test_an_output_can_be_fetched_from_where_its_event_says(site: Site) -> None:
    events = heard(site, played(site))
    [output] = [event for event in events if event["type"] == "output"]
    assert (output["content_type"], output["width"], output["height"], output["seed"]) == ("image/png", 256, 256, 7)
    assert "key" not in output
    assert httpx.get(output["url"]).status_code == 200


def test_events_come_as_they_happen(site: Site) -> None:
    job_id = site.submit()["id"]
    with site.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        lines = answer.iter_lines()
        [queued] = events_of(lines, lambda event: event["type"] == "queued")
        assert (queued["position"], queued["eta_s"]) == (0, None)
        _, lease = site.claim()
        assert events_of(lines, lambda event: True)[0]["type"] == "started"
        site.step(lease, 1, preview=PREVIEW)
        progress, preview = events_of(lines, lambda event: event["type"] == "preview")
        assert (progress["type"], progress["progress"], preview["image"]) == ("progress", 0.25, PREVIEW)
        site.store.release([lease], "drained", time.time())
        requeued = events_of(lines, lambda event: event["type"] == "requeued")[-1]
        assert requeued["reason"] == "drained"
        _, lease = site.claim()
        site.complete(lease)
        assert [event["type"] for event in events_of(lines)][-2:] == ["output", "succeeded"]


@pytest.mark.parametrize("way", ["header", "query", "socket"])
def test_a_client_goes_on_where_it_left_off(site: Site, way: str) -> None:
    job_id = played(site)
    every = heard(site, job_id)
    for index in range(len(every) - 1):
        behind = str(every[index]["seq"])
        if way == "socket":
            with site.socket(f"/v1/jobs/{job_id}/ws?after={behind}") as connection:
                rest = received(connection)
        else:
            what = {"headers": {"Last-Event-ID": behind}} if way == "header" else {"params": {"after": behind}}
            rest = heard(site, job_id, **what)
        assert [event["seq"] for event in rest] == [event["seq"] for event in every[index + 1 :]]


def test_a_client_that_has_it_all_is_told_not_to_come_back(site: Site) -> None:
    job_id = played(site)
    last = str(heard(site, job_id)[-1]["seq"])
    answer = site.http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")
    with site.socket(f"/v1/jobs/{job_id}/ws?after={last}") as connection:
        assert received(connection) == []


@pytest.mark.parametrize("behind", ["x", "-1", "1.5", "9" * 30])
def test_a_place_that_is_none_is_refused(site: Site, behind: str) -> None:
    job_id = site.submit()["id"]
    status, error = site.refused("GET", f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": behind})
    assert (status, error["code"], error["field"]) == (400, "bad_input", "Last-Event-ID")
    with pytest.raises(InvalidStatus) as caught, site.socket(f"/v1/jobs/{job_id}/ws?after={behind}"):
        pass
    assert caught.value.response.status_code == 400


def test_a_socket_says_what_the_stream_says_then_closes(site: Site) -> None:
    job_id = site.submit()["id"]
    with site.socket(f"/v1/jobs/{job_id}/ws") as connection:
        _, lease = site.claim()
        for step in range(1, 5):
            site.step(lease, step)
        site.complete(lease)
        said = received(connection)
    told = heard(site, job_id)
    for events in (said, told):
        for event in events:
            event.pop("position", None)  # as it was when each was told
    assert said == told


def test_what_a_client_says_on_a_socket_is_not_listened_to(site: Site) -> None:
    job_id = site.submit()["id"]
    with site.socket(f"/v1/jobs/{job_id}/ws") as connection:
        connection.send("hello")
        connection.send(b"\x00" * 1000)
        site.http.post(f"/v1/jobs/{job_id}/cancel")
        assert [event["type"] for event in received(connection)] == ["queued", "cancelled"]


def test_a_socket_for_an_unknown_job_is_refused_in_the_one_shape(site: Site) -> None:
    with pytest.raises(InvalidStatus) as caught, site.socket("/v1/jobs/job-nowhere/ws"):
        pass
    assert caught.value.response.status_code == 404
    assert json.loads(caught.value.response.body)["error"]["code"] == "not_found"


def test_many_clients_hear_the_same(site: Site) -> None:
    job_id = site.submit()["id"]
    with ExitStack() as stack, ThreadPoolExecutor(40) as pool:
        sockets = [stack.enter_context(site.socket(f"/v1/jobs/{job_id}/ws")) for _ in range(20)]
        heard_on = [pool.submit(received, connection) for connection in sockets]
        streams = [pool.submit(heard, site, job_id) for _ in range(20)]
        wait_until(lambda: site.gateway.feed._count == 40)
        _, lease = site.claim()
        for step in range(1, 5):
            site.step(lease, step, preview=PREVIEW)
        site.complete(lease)
        numbers = {tuple(event["seq"] for event in each.result()) for each in [*heard_on, *streams]}
    assert {tuple(n[-2:]) for n in numbers} == {tuple(e["seq"] for e in heard(site, job_id)[-2:])}
    wait_until(lambda: site.gateway.feed._count == 0)


@pytest.mark.slow
def test_a_slow_client_keeps_no_one_waiting_and_misses_no_transition(site: Site) -> None:
    job_id = site.submit()["id"]
    place = urlsplit(site.url)
    preview = "data:image/jpeg;base64," + "A" * 20_000
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((place.hostname, place.port))
        slow.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        wait_until(lambda: site.gateway.feed._count == 1)
        with site.socket(f"/v1/jobs/{job_id}/ws") as quick, ThreadPoolExecutor(1) as pool:
            listening = pool.submit(received, quick)
            for attempt in range(3):
                _, lease = site.claim()
                for step in range(300):
                    site.step(lease, step, 300, preview)
                if attempt < 2:
                    site.store.release([lease], "drained", time.time())
            site.complete(lease)
            kinds = [event["type"] for event in listening.result()]
        listeners = [each for those in site.gateway.feed._listeners.values() for each in those]
        assert sum(len(each._pending) for each in listeners) <= PENDING
        with slow.makefile("rb") as rest:
            data = rest.read().decode()
    transitions = ["queued", "started", "requeued", "started", "requeued", "started", "output", "succeeded"]
    assert [kind for kind in kinds if kind not in ("progress", "preview")] == transitions
    told = [line.removeprefix("event: ") for line in data.splitlines() if line.startswith("event: ")]
    assert [kind for kind in told if kind not in ("progress", "preview")] == transitions
    assert told.count("preview") < 300  # it did miss what was old


def test_a_client_that_leaves_is_forgotten(site: Site) -> None:
    job_id = site.submit()["id"]
    with site.socket(f"/v1/jobs/{job_id}/ws") as connection:
        connection.recv(timeout=60)
        with site.http.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            lines = answer.iter_lines()  # kept, for the client leaves when it lets go of them
            events_of(lines, lambda event: True)
            assert site.gateway.feed._count == 2
    wait_until(lambda: site.gateway.feed._count == 0)


def test_a_job_that_is_removed_ends_its_streams(site: Site) -> None:
    job_id = site.submit()["id"]
    with site.socket(f"/v1/jobs/{job_id}/ws") as connection:
        connection.recv(timeout=60)
        assert site.http.delete(f"/v1/jobs/{job_id}").status_code == 204
        assert [event["type"] for event in received(connection)] == ["cancelled"]


def test_a_server_that_stops_lets_its_streams_go(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, ExitStack() as clients:
        client = clients.enter_context(httpx.Client(timeout=60))
        with open_site(tmp_path) as site:
            job_id = site.submit()["id"]
            answer = clients.enter_context(client.stream("GET", f"{site.url}/v1/jobs/{job_id}/events"))
            lines = answer.iter_lines()
            events_of(lines, lambda event: True)
            rest = pool.submit(events_of, lines)
            connection = clients.enter_context(site.socket(f"/v1/jobs/{job_id}/ws"))
            connection.recv(timeout=60)
        assert rest.result() == []  # ended in order, not broken off
        with pytest.raises(ConnectionClosed) as caught:
            connection.recv(timeout=60)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code in (1001, 1012)


def test_a_silent_stream_says_that_it_lives(tmp_path: Path) -> None:
    sent: list[bytes] = []

    async def play() -> None:
        with closing(open_store(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")) as store:
            feed, threads = Feed(store, Threads()), Threads()
            store.insert([_new_job("job-1")], time.time())
            subscription = await feed.subscribe("job-1", 0)
            enough = asyncio.Event()

            async def send(message: Any) -> None:
                sent.append(message.get("body", b""))
                if len(sent) > 4:
                    enough.set()

            async def receive() -> Any:
                await enough.wait()
                return {"type": "http.disconnect"}

            async def say(event: Event) -> dict[str, Any]:
                return answers.event(event, {})

            await EventStream(subscription, say, beat_s=0.01)({}, receive, send)
            assert feed._count == 0
            threads.close()

    asyncio.run(play())
    assert sent[1].startswith(b"id: ")
    assert sent[2:5] == [b": still here\n\n"] * 3


def _new_job(job_id: str) -> Any:
    from darkroom.core import NewJob

    return NewJob(id=job_id, tenant="local", model="landscapes", task="text-to-image", input={"prompt": "x"})


def test_whoever_listens_to_all_jobs_hears_of_each_event_once(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    with open_site(tmp_path, parts={"hearers": [lambda job_id, event: told.append((job_id, event.type))]}) as site:
        while not told:  # it follows from the present, so it must have begun
            site.http.post(f"/v1/jobs/{site.submit()['id']}/cancel")
        job_id = played(site)
        wait_until(lambda: (job_id, "succeeded") in told)
        kinds = [kind for told_of, kind in told if told_of == job_id]
    assert [kind for kind in kinds if kind not in ("progress", "preview")] == [
        "queued", "started", "output", "succeeded",
    ]  # fmt: skip


def test_past_the_most_clients_the_next_is_told_to_come_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.gateway.events.MAX_LISTENERS", 1)
    job_id = site.submit()["id"]
    with site.socket(f"/v1/jobs/{job_id}/ws") as connection:
        connection.recv(timeout=60)
        status, error = site.refused("GET", f"/v1/jobs/{job_id}/events")
        assert (status, error["code"]) == (429, "too_busy")
        assert site.http.get(f"/v1/jobs/{job_id}/events").headers["retry-after"] == "1"


@pytest.mark.slow
def test_after_an_outage_of_the_store_clients_get_what_they_missed(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
            site = stack.enter_context(open_site(tmp_path / "home", store=open_store(server.url)))
            job_id = site.submit()["id"]
            connection = stack.enter_context(site.socket(f"/v1/jobs/{job_id}/ws"))
            on_socket, on_stream = pool.submit(received, connection), pool.submit(heard, site, job_id)
            wait_until(lambda: site.gateway.feed._count == 2)
            _, lease = site.claim()
            server.kill()
            status, error = site.refused("GET", f"/v1/jobs/{job_id}")
            assert (status, error["code"]) == (503, "store_unavailable")
            answer = site.http.post("/v1/jobs", json={"input": {"prompt": "x"}})
            assert (answer.status_code, int(answer.headers["retry-after"]) >= 1) == (503, True)
            assert site.http.get("/healthz").status_code == 200
            assert site.http.get("/readyz").status_code == 503
            server.start()
            wait_until(lambda: site.http.get(f"/v1/jobs/{job_id}").status_code == 200)
            site.complete(lease)
            for events in (on_socket.result(), on_stream.result()):
                kinds = [event["type"] for event in events]
                assert kinds == ["queued", "started", "output", "succeeded"]
    finally:
        server.kill()

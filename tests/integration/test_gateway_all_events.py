"""One stream for all of a tenant's jobs: whose it tells, where it goes on, what a slow client loses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection

from darkroom.core import Lease
from darkroom.gateway.events import MAX_OF_ONE
from darkroom.jobs.opening import open_store

from .callers import Holder, add_key
from .gateway_site import Site, events_of, open_site, played, wait_until
from .redis_server import RedisServer

AT_ONCE = 8


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as found:
        yield found


def heard(connection: ClientConnection, most: int = 10_000, last: str = "succeeded") -> list[dict[str, Any]]:
    """What a socket says up to the first event of that type, or so many."""
    found: list[dict[str, Any]] = []
    while len(found) < most and (not found or found[-1]["type"] != last):
        found.append(json.loads(connection.recv(timeout=30)))
    return found


def kinds(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["job_id"], one["type"]) for one in events if one["type"] not in ("progress", "preview")]


def test_a_socket_tells_of_all_jobs_from_now_on_each_event_with_its_job(site: Site) -> None:
    played(site)
    with site.socket("/v1/events/ws?after=") as connection:
        first, second = played(site), played(site)
        said = heard(connection) + heard(connection)
    ends = ("queued", "started", "output", "succeeded")
    assert kinds(said) == [(job, kind) for job in (first, second) for kind in ends]
    assert [one["seq"] for one in said] == sorted({one["seq"] for one in said})
    progress = [one for one in said if one["type"] == "progress"]
    assert {one["job_id"] for one in progress} == {first, second}
    assert (progress[-1]["step"], progress[-1]["steps"], progress[-1]["progress"]) == (4, 4, 1.0)
    [output, _] = [one for one in said if one["type"] == "output"]
    assert site.http.get(output["url"]).status_code == 200


def test_a_client_goes_on_behind_what_it_had(site: Site) -> None:
    jobs = [played(site) for _ in range(3)]
    with site.socket("/v1/events/ws?after=0") as connection:
        every = [event for _ in jobs for event in heard(connection)]
    assert [job for job, kind in kinds(every) if kind == "succeeded"] == jobs
    assert sum(one["type"] == "preview" for one in every) == len(jobs)  # only the latest of each
    for index in range(0, len(every) - 1, 3):
        behind, left = every[index]["seq"], every[index + 1 :]
        with site.socket(f"/v1/events/ws?after={behind}") as connection:
            rest = [json.loads(text) for text in islice(connection, len(left))]
        assert [one["seq"] for one in rest] == [one["seq"] for one in left]
        with site.http.stream("GET", "/v1/events", headers={"Last-Event-ID": str(behind)}) as answer:
            told = events_of(answer.iter_lines(), lambda event: event["seq"] == every[-1]["seq"])
        assert [one["seq"] for one in told] == [one["seq"] for one in left]


def test_a_past_of_more_events_than_the_store_tells_at_once_comes_whole_and_in_order(site: Site) -> None:
    job_id = str(site.submit()["id"])
    _, lease = site.claim()
    for step in range(1, 1101):
        site.step(lease, step, 1140)
    site.complete(lease)
    with site.socket("/v1/events/ws?after=0") as connection:
        said = heard(connection)
        again = played(site)
        present = heard(connection)
    assert [one["step"] for one in said if one["type"] == "progress"] == [*range(1, 1101)]
    assert kinds(said + present)[3:5] == [(job_id, "succeeded"), (again, "queued")]


def token_of(site: Site, holder: Holder) -> str:
    return str(site.http.post("/v1/tokens", headers=holder.headers).json()["token"])


def test_a_tenant_hears_of_its_own_jobs_alone_and_an_operator_of_all(tmp_path: Path) -> None:
    with open_site(tmp_path) as site, ExitStack() as stack:
        owl, hare = add_key(site.store, "owl"), add_key(site.store, "hare")
        boss = add_key(site.store, "boss", "operator")
        asked = (("owl", owl, ""), ("hare", hare, "?after="), ("boss", boss, "?all=true"))
        sockets = {
            name: stack.enter_context(site.socket(f"/v1/events/ws{query}", **holder.headers))
            for name, holder, query in asked
        }
        mine = [site.submit(headers=holder.headers)["id"] for holder in (owl, hare, owl)]
        told = {
            name: [heard(sockets[name], 1)[0]["job_id"] for _ in range(most)]
            for name, most in (("owl", 2), ("hare", 1), ("boss", 3))
        }
        assert told == {"owl": [mine[0], mine[2]], "hare": [mine[1]], "boss": mine}
        with site.socket(f"/v1/events/ws?after=0&token={token_of(site, hare)}") as connection:
            assert heard(connection, 1)[0]["job_id"] == mine[1]
        for headers, query in ((owl.headers, ""), ({}, f"&token={token_of(site, boss)}")):
            with pytest.raises(InvalidStatus) as refused:
                site.socket(f"/v1/events/ws?all=true{query}", **headers)
            assert refused.value.response.status_code == 403
        with site.http.stream("GET", "/v1/events?all=true&after=0", headers=boss.headers) as answer:
            told_to_boss = events_of(answer.iter_lines(), lambda event: event["job_id"] == mine[2])
        assert [one["job_id"] for one in told_to_boss] == mine
        status, error = site.refused("GET", "/v1/events?all=true", headers=owl.headers)
        assert (status, error["code"]) == (403, "forbidden")


def test_no_event_costs_a_look_at_its_job(tmp_path: Path) -> None:
    looks: list[str] = []
    store = open_store(f"sqlite:///{tmp_path}/jobs.db")
    plain = store.get

    def counted(job_id: str) -> Any:
        looks.append(job_id)
        return plain(job_id)

    store.get = counted  # type: ignore[method-assign]  # counts, and does what it did
    with open_site(tmp_path, store=store) as site, ExitStack() as stack:
        clients = [stack.enter_context(site.socket("/v1/events/ws")) for _ in range(AT_ONCE)]
        job_id = str(site.submit()["id"])
        _, lease = site.claim()
        heard(clients[0], last="started")
        looks.clear()
        for step in range(1, 41):
            site.step(lease, step, 41)
        site.complete(lease)
        for client in clients:
            assert heard(client)[-1]["job_id"] == job_id
        assert looks == []


@pytest.mark.parametrize("said", ["x", "-1", "1.5", "9" * 30])
def test_a_place_that_is_no_seq_is_refused(site: Site, said: str) -> None:
    status, error = site.refused("GET", f"/v1/events?after={said}")
    assert (status, error["field"]) == (400, "after")
    with pytest.raises(InvalidStatus):
        site.socket(f"/v1/events/ws?after={said}")
    assert site.refused("GET", "/v1/events?all=perhaps")[0] == 400


def test_a_place_beyond_the_last_event_counts_as_the_present(site: Site) -> None:
    with site.socket(f"/v1/events/ws?after={2**63 - 1}") as connection:
        job_id = played(site)
        assert kinds(heard(connection))[0] == (job_id, "queued")


def test_streams_of_all_jobs_count_among_the_streams_of_a_tenant(site: Site) -> None:
    for _ in range(MAX_OF_ONE - 1):
        site.gateway.feed.join_all("local", "local")
    with site.socket("/v1/events/ws"):
        status, error = site.refused("GET", "/v1/events")
    assert (status, error["code"]) == (429, "too_busy")
    wait_until(lambda: site.gateway.feed._count == MAX_OF_ONE - 1)  # its place is free again


def test_the_same_over_redis_also_behind_a_store_that_was_emptied(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = RedisServer(tmp_path)
        stack.callback(server.kill)
        site = stack.enter_context(open_site(tmp_path, store=open_store(server.url)))
        first = played(site)
        with site.socket("/v1/events/ws?after=0") as connection:
            said = heard(connection)
            assert kinds(said)[-1] == (first, "succeeded")
        with site.socket(f"/v1/events/ws?after={said[-1]['seq'] + 1000}") as connection:
            second = played(site)
            assert kinds(heard(connection))[0] == (second, "queued")


def test_steps_of_many_jobs_at_once_reach_a_slow_client_as_their_latest(site: Site) -> None:
    leases: list[Lease] = []
    for _ in range(AT_ONCE):
        site.submit()
        leases.append(site.claim()[1])
    with site.socket("/v1/events/ws") as connection:
        for step in range(1, 5):
            for lease in leases:
                site.step(lease, step)
        for lease in leases:
            site.complete(lease)
        time.sleep(0.2)
        said = [event for _ in leases for event in heard(connection)]
    ended = [job for job, kind in kinds(said) if kind == "succeeded"]
    assert ended == [lease.job_id for lease in leases]
    for lease in leases:
        steps = [one["step"] for one in said if one["type"] == "progress" and one["job_id"] == lease.job_id]
        assert steps == sorted(steps)
        assert steps[-1] == 4


def test_whoever_joins_while_much_happens_hears_each_transition_once_and_in_order(site: Site) -> None:
    count = 40

    def work() -> None:
        for _ in range(count):
            played(site)

    def follow(pause_s: float) -> list[dict[str, Any]]:
        time.sleep(pause_s)
        with site.socket("/v1/events/ws?after=0") as connection:
            return [event for _ in range(count) for event in heard(connection)]

    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        worker = pool.submit(work)
        clients = [pool.submit(follow, 0.05 * number) for number in range(AT_ONCE)]
        worker.result()
        told = [kinds(client.result()) for client in clients]
    assert len(told[0]) == 4 * count
    assert all(each == told[0] for each in told)

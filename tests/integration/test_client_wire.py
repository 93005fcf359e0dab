"""The Python client when the wire breaks, and among servers that are not Darkroom; over both of its faces."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from darkroom import AsyncClient, Client, errors
from darkroom.client.nouns import Output
from darkroom.jobs.store import JobFilter

from .cutting_proxy import CuttingProxy, Rule, cutting
from .faces import FACES, Open, opening
from .gateway_site import Site, events_of, open_site, wait_until
from .scripted_server import Line, Script, dripping, scripted
from .service import free_port

PROMPT = "night, full moon over a lake"
SUBMIT = "POST /v1/jobs HTTP/1.1"


@pytest.fixture(params=FACES)
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    with opening(request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(house: Site) -> Iterator[Site]:
    yield house
    for job_id in all_jobs(house):
        house.store.cancel(job_id, time.time())
        house.store.delete(job_id)


@pytest.fixture
def proxy(site: Site) -> Iterator[CuttingProxy]:
    with cutting(site.url) as proxy:
        yield proxy


def once(line: str, passing: int) -> Rule:
    """Cut the first answer to such a request after so many bytes."""
    left = [True]

    def rule(asked: str, before: bytes, now: bytes) -> int | None:
        if asked != line or not left[0] or len(before) + len(now) <= passing:
            return None
        left[0] = False
        return passing - len(before)

    return rule


def all_jobs(site: Site) -> list[str]:
    return [job.id for job in site.store.list_jobs(JobFilter()).jobs]


# --- never twice ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("passing", [0, 400, 900], ids=["nothing", "half a head", "half a body"])
def test_a_lost_answer_submits_nothing_twice(opened: Open, site: Site, proxy: CuttingProxy, passing: int) -> None:
    proxy.rule = once(SUBMIT, passing)
    job = opened(proxy.url).submit(PROMPT, num_inference_steps=4)
    assert proxy.cuts == 1  # the gateway had answered, so the job was there already
    assert proxy.seen.count(SUBMIT) == 2
    assert all_jobs(site) == [job.id]


def test_answers_that_are_always_lost_leave_one_job_and_say_so(opened: Open, site: Site, proxy: CuttingProxy) -> None:
    proxy.rule = lambda asked, before, now: 0
    with pytest.raises(errors.Unavailable, match="does not answer"):
        opened(proxy.url, retries=3).submit(PROMPT)
    assert proxy.seen == [SUBMIT] * 4
    assert len(all_jobs(site)) == 1


def test_a_removal_whose_answer_is_lost_is_done(opened: Open, site: Site, proxy: CuttingProxy) -> None:
    client = opened(proxy.url)
    job = client.submit(PROMPT)
    line = f"DELETE /v1/jobs/{job.id} HTTP/1.1"
    proxy.rule = once(line, 0)
    client.delete(job)
    assert (proxy.cuts, proxy.seen.count(line), all_jobs(site)) == (1, 2, [])
    with pytest.raises(errors.NotFound):
        client.delete(job)


def test_a_job_that_goes_while_its_worker_stops_is_removed(opened: Open) -> None:
    with scripted(Line(202, b"{}"), Line(404)) as script:
        opened(script.url).delete("job-1")
        assert [method for method, _, _ in script.heard] == ["DELETE", "DELETE"]


def test_two_wishes_are_two_jobs_unless_they_have_one_key(opened: Open, site: Site) -> None:
    client = opened(site.url)
    assert client.submit(PROMPT).id != client.submit(PROMPT).id
    assert client.submit(PROMPT, idempotency_key="order-1").id == client.submit(PROMPT, idempotency_key="order-1").id
    with pytest.raises(errors.IdempotencyConflict):
        client.submit("another", idempotency_key="order-1")
    assert len(all_jobs(site)) == 3


def test_a_refusal_is_not_asked_for_again(opened: Open, site: Site, proxy: CuttingProxy) -> None:
    client = opened(proxy.url)
    with pytest.raises(errors.BadInput):
        client.submit(PROMPT, num_inference_steps=0)
    with pytest.raises(errors.NotFound):
        list(client.events("job-0"))
    assert len(proxy.seen) == 2


# --- the stream of events ------------------------------------------------------------------------------------------


def cut_each(events: int, rest: int) -> Rule:
    """Cut every stream behind so many whole events and some bytes of the next."""

    def rule(asked: str, before: bytes, now: bytes) -> int | None:
        if "/events" not in asked:
            return None
        text = before + now
        at = text.find(b"\r\n\r\n") + 4
        for _ in range(events):
            at = text.find(b"\n\n", at) + 2
            if at == 1:
                return None
        return max(0, at + rest - len(before)) if len(text) > at + rest else None

    return rule


@pytest.mark.parametrize("rest", [0, 3, 80])
def test_a_broken_stream_goes_on_without_gap_or_repeat(
    opened: Open, site: Site, proxy: CuttingProxy, rest: int
) -> None:
    client = opened(proxy.url, retries=1)
    job = client.submit(PROMPT, num_inference_steps=8)
    proxy.rule = cut_each(2, rest)
    with ThreadPoolExecutor(1) as pool:
        listening = pool.submit(lambda: list(client.events(job)))
        _, lease = site.claim()
        for step in range(1, 9):
            site.step(lease, step, 8)
            if step == 4:
                wait_until(lambda: proxy.cuts > 0)  # some of it comes live, some from the past
        site.complete(lease)
        heard = listening.result(60)
    with site.http.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        told = events_of(answer.iter_lines())
    assert [event.seq for event in heard] == [event["seq"] for event in told]
    assert [event.data["step"] for event in heard if event.type == "progress"] == list(range(1, 9))
    assert proxy.cuts >= 4


def test_waiting_goes_on_over_a_gateway_that_starts_anew(opened: Open, tmp_path: Path) -> None:
    with open_site(tmp_path) as site, cutting(site.url) as proxy:
        client = opened(proxy.url)
        job = client.submit(PROMPT)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.wait, job)
            wait_until(lambda: site.gateway.feed._count == 1)
            store_home = site.parts.settings.home
            site.gateway.feed.let_go()  # what a gateway does first when it stops
            proxy.rule = lambda asked, before, now: 0
            _, lease = site.claim()
            site.complete(lease)
            wait_until(lambda: proxy.cuts >= 2)
            with open_site(store_home, store=site.store) as second:
                host, port = second.url.removeprefix("http://").split(":")
                proxy.target, proxy.rule = (host, int(port)), lambda asked, before, now: None
                assert waiting.result(60).state == "succeeded"


def test_a_stream_that_only_breaks_is_given_up(opened: Open, site: Site, proxy: CuttingProxy) -> None:
    client = opened(proxy.url, retries=1)
    job = client.submit(PROMPT)
    proxy.rule = lambda asked, before, now: 0
    with pytest.raises(errors.Unavailable):
        list(client.events(job))
    assert sum("/events" in line for line in proxy.seen) == 2


def test_nobody_there_is_said_with_what_to_do(opened: Open) -> None:
    with pytest.raises(errors.Unavailable, match="darkroom serve"):
        opened(f"http://127.0.0.1:{free_port()}", retries=0).models()


def test_a_wait_ends_in_time_where_nobody_is(opened: Open) -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        opened(f"http://127.0.0.1:{free_port()}", retries=50).wait("job-1", timeout_s=1.0)
    assert time.monotonic() - began < 2.0


def test_a_generation_ends_in_time_whatever_hangs(opened: Open, site: Site, proxy: CuttingProxy) -> None:
    for part in ("POST /v1/jobs", "/events", "/artifacts/"):

        def hang(asked: str, before: bytes, now: bytes, part: str = part) -> None:
            if part in asked:
                time.sleep(4.0)

        proxy.rule = hang
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            generating = pool.submit(opened(proxy.url).generate, PROMPT, timeout_s=1.5, num_inference_steps=4)
            wait_until(lambda: site.store.queue().queued > 0)
            site.complete(site.claim()[1])
            with pytest.raises(TimeoutError):
                generating.result(60)
            assert 1.0 <= time.monotonic() - began < 2.5, part


def test_an_answer_that_drips_is_not_waited_for(opened: Open) -> None:
    with dripping() as url:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            opened(url, retries=0).generate(PROMPT, timeout_s=1.0)
        assert time.monotonic() - began < 2.0


# --- not now -------------------------------------------------------------------------------------------------------


def test_a_full_queue_is_waited_for_as_long_as_it_says(opened: Open, tmp_path: Path) -> None:
    with open_site(tmp_path, max_queued=1) as site:
        client = opened(site.url)
        first = client.submit(PROMPT)
        with pytest.raises(errors.QueueFull) as caught:
            opened(site.url, retries=0).submit(PROMPT)
        wait_s = caught.value.retry_after_s
        assert wait_s >= 1
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            second = pool.submit(client.submit, PROMPT)
            time.sleep(0.2)
            site.http.post(f"/v1/jobs/{first.id}/cancel")
            assert second.result(60).id != first.id
            assert time.monotonic() - began >= wait_s


def spoken(*lines: Line) -> Any:
    return scripted(*lines, Line(200, b'{"object": "list", "data": []}'))


def not_now(status: int, **headers: str) -> Line:
    return Line(status, b"<html>busy</html>", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_says_not_now_is_asked_again(opened: Open, status: int) -> None:
    with spoken(not_now(status)) as script:
        assert opened(script.url, retries=1).models() == ()
        assert len(script.heard) == 2


def test_who_waits_is_told_why_and_for_how_long(caplog: pytest.LogCaptureFixture) -> None:
    said = {"error": {"code": "limit_exceeded", "message": "you may send 1 job a minute", "field": "jobs_per_minute"}}
    busy = Line(429, json.dumps(said).encode(), {"Retry-After": "0"})
    with caplog.at_level("WARNING", logger="darkroom.client"):
        for line, told in ((busy, 1), (not_now(503), 0), (not_now(503, Retry_After="1"), 1)):
            caplog.clear()
            with spoken(line) as script, Client(script.url, retries=1) as client:
                client.models()
            assert len(caplog.records) == told
            if line is busy:
                assert "you may send 1 job a minute: asking again in 0." in caplog.text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 418, 500, 501])
def test_all_else_is_not(opened: Open, status: int) -> None:
    with spoken(Line(status)) as script:
        with pytest.raises(errors.DarkroomError, match=f"answered {status}"):
            opened(script.url).models()
        assert len(script.heard) == 1


def test_a_date_to_come_back_at_is_understood(opened: Open) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with spoken(not_now(503, Retry_After=soon)) as script:
        began = time.monotonic()
        assert opened(script.url).models() == ()
        assert 0.5 <= time.monotonic() - began < 5


def test_who_wants_to_be_left_alone_for_long_is(opened: Open) -> None:
    said = {"error": {"code": "limit_exceeded", "message": "the day's budget is used", "field": "usd_per_day"}}
    with spoken(Line(429, json.dumps(said).encode(), {"Retry-After": "3600"})) as script:
        with pytest.raises(errors.LimitExceeded, match="budget") as caught:
            opened(script.url).models()
        assert (caught.value.field, caught.value.retry_after_s) == ("usd_per_day", 3600.0)
        assert len(script.heard) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.BadInput), (404, errors.NotFound), (429, errors.TooBusy), (418, errors.DarkroomError)],
)
def test_a_code_of_a_later_release_is_an_error_of_its_status(
    opened: Open, status: int, kind: type[errors.DarkroomError]
) -> None:
    said = {"error": {"code": "from_the_future", "message": "no", "field": "prompt", "request_id": "abc"}}
    with spoken(Line(status, json.dumps(said).encode())) as script, pytest.raises(errors.DarkroomError) as caught:
        opened(script.url, retries=0).models()
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.field, caught.value.request_id) == ("from_the_future", "prompt", "abc")


def test_a_page_of_somebody_else_is_named(opened: Open) -> None:
    said = Line(200, b"<html>welcome</html>")
    with spoken(said) as script, pytest.raises(errors.DarkroomError, match="is it Darkroom"):
        opened(script.url).models()


# --- the key ---------------------------------------------------------------------------------------------------------


def output_at(url: str) -> Output:
    return Output("art-1", url, "image/png", 8, 8, 7, 3)


def keys_heard(script: Script) -> list[str | None]:
    return [headers.get("authorization") for _, _, headers in script.heard]


def test_the_key_goes_to_the_service_and_nowhere_else(opened: Open) -> None:
    with scripted(Line(200, b"abc")) as store, spoken() as service:
        client = opened(service.url, "sk-secret")
        assert client.models() == ()
        assert client.download(output_at(f"{store.url}/bucket/key.png?X-Amz-Signature=1")) == b"abc"
        assert keys_heard(service) == ["Bearer sk-secret"]
        assert store.heard[0][1] == "/bucket/key.png?X-Amz-Signature=1"
        assert keys_heard(store) == [None]


def test_a_url_that_leads_elsewhere_is_followed_without_the_key(opened: Open) -> None:
    with scripted(Line(200, b"abc")) as other, scripted(Line(307, headers={"Location": f"{other.url}/there"})) as store:
        client = opened(store.url, "sk-secret")  # also where the store and the service share an address
        assert client.download(output_at(f"{store.url}/key.png")) == b"abc"
        assert keys_heard(store) + keys_heard(other) == [None, None]


def test_a_url_that_has_ended_is_no_end(opened: Open) -> None:
    with scripted(Line(403, b"expired")) as store, scripted(Line(200, b"abc")) as service:
        client = opened(service.url, "sk-secret")
        assert client.download(output_at(f"{store.url}/key.png")) == b"abc"
        assert service.heard[0][1] == "/v1/artifacts/art-1"
        assert (keys_heard(store), keys_heard(service)) == ([None], ["Bearer sk-secret"])


@pytest.mark.parametrize("is_there", [True, False])
def test_a_url_that_does_not_answer_is_asked_once(opened: Open, is_there: bool) -> None:
    with scripted(Line(503)) as store, scripted(Line(200, b"abc")) as service:
        url = store.url if is_there else f"http://127.0.0.1:{free_port()}"
        began = time.monotonic()
        assert opened(service.url).download(output_at(f"{url}/key.png")) == b"abc"
        assert time.monotonic() - began < 1.0
        assert (len(store.heard), len(service.heard)) == (int(is_there), 1)


def test_a_service_below_a_path_is_found_there(opened: Open) -> None:
    with spoken() as script:
        assert opened(f"{script.url}/darkroom/").models() == ()
        assert script.heard[0][1] == "/darkroom/v1/models"


def test_no_message_holds_the_key(opened: Open) -> None:
    with pytest.raises(errors.BadInput) as caught:
        opened("http://127.0.0.1:1", "sk-sec\nret")
    assert "sk-sec" not in str(caught.value)
    with pytest.raises(errors.Unavailable) as lost:
        opened(f"http://127.0.0.1:{free_port()}", "sk-secret", retries=0).models()
    assert "sk-secret" not in str(lost.value)
    for face in (Client, AsyncClient):
        assert "sk-secret" not in repr(vars(face("http://127.0.0.1:1", "sk-secret"))["_talk"].asking)

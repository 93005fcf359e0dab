"""What the client decides without a wire: events from bytes, when to ask again, which error a code means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom import Client, errors
from darkroom.client.nouns import JobEvent
from darkroom.client.refusals import error_of, refusal_of
from darkroom.client.retries import FIRST_S, LONGEST_S, PATIENCE_S, Retries
from darkroom.client.sse import EventReader
from darkroom.client.wire import Answer
from darkroom.client.wish import order_of
from darkroom.errors import retry_after_s

SAID = [
    {"seq": n, "at": "2026-11-22T05:40:38.384Z", "type": "progress", "step": n, "note": "a\u2028b é"} for n in (1, 2, 3)
]


def stream(line_end: str) -> bytes:
    parts = [": still here", ""]
    for said in SAID:
        parts += [f"id: {said['seq']}", "event: progress", f"data: {json.dumps(said, ensure_ascii=False)}", ""]
    return (line_end.join(parts) + line_end).encode()


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 700), max_size=12))
def test_events_are_whole_wherever_the_network_cuts(line_end: str, cuts: list[int]) -> None:
    text, reader = stream(line_end), EventReader()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in pairwise(edges)]
    found = [event for chunk in chunks for event in reader.feed(chunk)]
    # A carriage return at the very end may be half of a line's end, so the last event waits for what follows.
    found += list(reader.feed(b"\n")) if line_end == "\r" else []
    assert found == [JobEvent.read(said) for said in SAID]


def test_half_an_event_is_none() -> None:
    assert list(EventReader().feed(stream("\n")[:-1])) == [JobEvent.read(said) for said in SAID[:2]]


def test_data_of_several_lines_is_one_text() -> None:
    [event] = EventReader().feed(b'data: {"seq": 4, "at": "x",\ndata:"type": "queued"}\n\n')
    assert (event.seq, event.type) == (4, "queued")


def test_pauses_double_to_a_bound_and_half_of_each_is_drawn() -> None:
    least, most = Retries(20, draw=lambda: 0.0), Retries(20, draw=lambda: 1.0)
    assert [most.wait_s(n, None) for n in (1, 2, 3)] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert [least.wait_s(n, None) for n in (1, 2, 3)] == [FIRST_S / 2, FIRST_S, 2 * FIRST_S]
    assert most.wait_s(20, None) == LONGEST_S


def test_there_are_as_many_tries_as_were_asked_for() -> None:
    assert Retries(2).wait_s(2, None) is not None
    assert Retries(2).wait_s(3, None) is None
    assert Retries(0).wait_s(1, None) is None


def test_what_the_server_asks_for_is_the_least() -> None:
    assert Retries(5, draw=lambda: 0.0).wait_s(1, 3.0) == 3.0
    assert Retries(5, draw=lambda: 1.0).wait_s(1, 3.0) == 3.0 + FIRST_S / 2
    assert Retries(5).wait_s(1, PATIENCE_S + 1) is None


def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_795_000_000.0
    date = format_datetime(datetime.fromtimestamp(now + 7, UTC), usegmt=True)
    assert (retry_after_s("12", now), retry_after_s(date, now), retry_after_s("soon", now)) == (12.0, 7.0, None)
    assert retry_after_s(date, now + 100) == 0.0
    assert retry_after_s(None, now) is None
    for said in ("", "-1", "1.5", "٣", "Thu, 99 Jan 1970", "Thu, 01 Jan 2026 00:00:00 +" + "9" * 30):
        assert retry_after_s(said, now) is None


def _all(kind: type[errors.DarkroomError]) -> list[type[errors.DarkroomError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _all(child))]


@pytest.mark.parametrize("kind", [kind for kind in _all(errors.DarkroomError) if kind is not errors.DarkroomError])
def test_every_error_comes_back_as_its_own_class(kind: type[errors.DarkroomError]) -> None:
    said = {"code": kind.code, "message": "why", "field": "seed", "request_id": "abc"}
    answer = Answer("http://there", kind.http_status, {"retry-after": "9"}, json.dumps({"error": said}).encode())
    error = refusal_of(answer)
    assert type(error) is kind
    assert (error.message, error.field, error.code, error.request_id) == ("why", "seed", kind.code, "abc")
    if isinstance(error, errors.TooBusy | errors.Unavailable):
        assert error.retry_after_s == 9.0


def test_a_job_may_end_with_an_unknown_code() -> None:
    error = error_of({"code": "eaten", "message": "by the dog"}, errors.DarkroomError)
    assert (type(error), error.code, error.message) == (errors.DarkroomError, "eaten", "by the dog")


@pytest.mark.parametrize("said", ["http://box:1", "http://box:1/", "http://box:1/v1", "http://box:1/v1/"])
def test_the_address_may_end_with_the_apis_root(said: str) -> None:
    client = Client(said, "")
    try:
        assert client.url == "http://box:1"
    finally:
        client.close()


def test_a_wish_becomes_a_body_under_a_key_of_its_own() -> None:
    order = order_of("a fox", {"model": None, "priority": 2, "seed": 7, "image": b"x", "mask_image": "art-1"})
    assert order.body == {"priority": 2, "input": {"prompt": "a fox", "seed": 7, "mask_image": "art-1"}}
    assert order.pictures == {"image": b"x"}
    assert order.with_uploads({"image": "art-2"})["input"]["image"] == "art-2"
    assert order.key != order_of("a fox", {}).key

"""What a request says beside its input."""

from __future__ import annotations

from typing import Any

import pytest

from darkroom.errors import BadInput, UnknownArgument
from darkroom.gateway.door import INPUT_NAMES, _check_inputs, digest_of, rows_of
from darkroom.gateway.ids import is_id, new_job_id
from darkroom.gateway.limits import request_id_of
from darkroom.gateway.routes.jobs import MAX_WAIT_S, wait_of, wish_of
from darkroom.gateway.schemas import JobBody
from darkroom.gateway.streams import parse_seq
from darkroom.models.request import ImageRequest

INPUT = {"prompt": "a lighthouse"}


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("respond-async", 0),
        ("wait=10", 10),
        ("respond-async, wait=10", 10),
        ('Wait="7"; x=1', 7),
        ("wait=0", 0),
        ("await=10", 0),
        (f"wait={MAX_WAIT_S}", MAX_WAIT_S),
    ],
)
def test_a_preference_to_wait_is_found_among_others(prefer: str | None, seconds: int) -> None:
    assert wait_of(prefer) == seconds


@pytest.mark.parametrize(
    "prefer", ["wait=", "wait=soon", "wait=-1", f"wait={MAX_WAIT_S + 1}", "wait=1.5", "wait=" + "9" * 99]
)
def test_a_wait_that_cannot_be_kept_is_refused(prefer: str) -> None:
    with pytest.raises(BadInput) as caught:
        wait_of(prefer)
    assert caught.value.field == "Prefer"


@pytest.mark.parametrize("said", ["-1", "1.0", "x", "٣", str(2**63), "9" * 5000])
def test_a_place_among_events_is_a_whole_number(said: str) -> None:
    assert parse_seq("", "after") == parse_seq(None, "after") == 0
    with pytest.raises(BadInput):
        parse_seq(said, "after")


def test_a_webhook_is_a_url_or_one_with_its_events() -> None:
    plain = wish_of(JobBody.model_validate({"input": INPUT, "webhook": "https://example.org"}), None)
    assert (plain.webhook, plain.webhook_events) == ("https://example.org", ("succeeded", "failed", "cancelled"))
    said = {"url": "https://example.org/x", "events": ["failed", "started", "failed"]}
    chosen = wish_of(JobBody.model_validate({"input": INPUT, "webhook": said}), None)
    assert (chosen.webhook, chosen.webhook_events) == ("https://example.org/x", ("failed", "started"))
    assert wish_of(JobBody(input=INPUT), None).webhook is None


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256, "a\n"])
def test_an_idempotency_key_is_visible_ascii(key: str) -> None:
    with pytest.raises(BadInput, match="visible ASCII"):
        wish_of(JobBody(input=INPUT), key)


def test_every_input_that_is_allowed_is_taken_and_an_unknown_one_is_told_of_all_of_them() -> None:
    assert set(_check_inputs(dict.fromkeys(INPUT_NAMES, True))[0]) == {*INPUT_NAMES} - {"reproducible"}
    with pytest.raises(UnknownArgument, match="did you mean num_inference_steps") as caught:
        _check_inputs({**INPUT, "steps": 4})
    allowed = caught.value.message.partition("allowed: ")[2].split(", ")
    assert ("reproducible" in allowed, "task" in allowed) == (True, False)


def test_a_digest_is_of_what_was_said_whatever_its_order() -> None:
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_a_guided_image_takes_two_rows() -> None:
    said: dict[str, Any] = {
        "prompt": "x", "negative_prompt": "", "num_inference_steps": 4, "width": 64, "height": 64,
        "num_images_per_prompt": 3, "seed": 1, "solver": None, "task": "text-to-image",
    }  # fmt: skip
    assert [rows_of(ImageRequest(guidance_scale=scale, **said)) for scale in (None, 4.0, 1.0)] == [6, 6, 3]


def test_ids_are_unlike_urls_and_unlike_each_other() -> None:
    assert is_id(new_job_id())
    assert new_job_id() != new_job_id()
    for text in ("", "https://x", "data:image/png;base64,AA", "https:x", "../x", "a/b", "a b", "x" * 200, "é", "-x"):
        assert not is_id(text)


def test_a_callers_request_id_is_kept_where_it_fits_a_log_line() -> None:
    assert request_id_of("trace-1.a_B") == "trace-1.a_B"
    for said in (None, "", "a b", "x" * 65, "line\nbreak", "é"):
        assert request_id_of(said) not in (said, "")

"""A worker's connection to its gateway: which addresses it takes, and what an answer means."""

from __future__ import annotations

import httpx
import pytest

from darkroom.errors import (
    BadInput,
    Conflict,
    DarkroomError,
    Forbidden,
    InvalidConfig,
    LeaseLost,
    NotFound,
    TooLarge,
    Unauthorised,
    Unavailable,
)
from darkroom.storage.link import checked_url, refusal_of


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("https://images.example.org", "https://images.example.org"),
        ("https://images.example.org/", "https://images.example.org"),
        ("https://images.example.org/v1/", "https://images.example.org"),
        ("http://127.0.0.1:8188/darkroom", "http://127.0.0.1:8188/darkroom"),
        ("http://[::1]:8188", "http://[::1]:8188"),
    ],
)
def test_an_address_is_kept_without_what_follows_it(said: str, kept: str) -> None:
    assert checked_url(said) == kept


@pytest.mark.parametrize(
    "said",
    ["images.example.org", "ftp://x", "https://", "http://x:99999", "https://x?key=1", "https://x#y", "https://a:b@x"],
)
def test_what_is_no_address_is_refused_by_name(said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        checked_url(said)
    assert caught.value.field == "gateway"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "lease_lost", LeaseLost),
        (400, "bad_input", BadInput),
        (404, "not_found", NotFound),
        (503, "store_unavailable", Unavailable),
        (500, "internal", Unavailable),  # it may go better another time, and is no fault of ours
        (409, "of_a_later_release", Conflict),
    ],
)
def test_a_refusal_of_the_gateways_is_the_error_of_its_code(status: int, code: str, kind: type[DarkroomError]) -> None:
    said = {"code": code, "message": "because", "field": "key", "request_id": "r1"}
    error = refusal_of(httpx.Response(status, json={"error": said}))
    assert (type(error), error.message, error.field) == (kind, "because", "key")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthorised", Unauthorised),
        (403, "forbidden", Forbidden),
        (413, "too_large", TooLarge),
    ],
)
def test_a_refusal_of_the_key_or_a_body_is_the_gateways_alone(
    status: int, code: str, kind: type[DarkroomError]
) -> None:
    said = {"code": code, "message": "because", "field": None}
    assert type(refusal_of(httpx.Response(status, json={"error": said}))) is kind
    assert type(refusal_of(httpx.Response(status, text="<html>"))) is Unavailable


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 418, 429, 501, 502, 504])
@pytest.mark.parametrize("body", ["<html>", "[]", '{"error": "no"}', '{"error": {"message": "no such host"}}'])
def test_what_a_proxy_answers_is_never_the_gateways_word(status: int, body: str) -> None:
    error = refusal_of(httpx.Response(status, text=body, headers={"Retry-After": "7"}))
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == 7.0
    assert str(status) in error.message or "no such host" in error.message


def test_a_redirect_is_told_and_not_followed() -> None:
    error = refusal_of(httpx.Response(308, headers={"Location": "https://elsewhere.example.org/"}))
    assert "https://elsewhere.example.org/: give that address" in error.message

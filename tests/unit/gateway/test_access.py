"""Whose name is answered to, and whose pages may call."""

from __future__ import annotations

import pytest

from darkroom.config import ServeSettings
from darkroom.errors import Forbidden, NotFound
from darkroom.gateway.access import OPERATOR, USER, AllowList, Caller, host_name

LOOPBACK, ELSEWHERE = "127.0.0.1", "192.168.1.5"


def allow(**serve: object) -> AllowList:
    return AllowList(ServeSettings(**serve))  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "localhost:8188", "127.0.0.1:1", "[::1]:8188", "LocalHost:80"])
def test_loopback_names_are_answered_to_on_any_port(host: str) -> None:
    allow().check_host(host, LOOPBACK)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.5", "[::2]", "a:b:c"),
        *("127.0.0.1:80, evil.example", "localhost:evil", "127.0.0.1:80:80", "localhost ", "[::1", "::1"),
    ],
)
def test_over_loopback_no_other_name_is_answered_to(host: str) -> None:
    with pytest.raises(Forbidden):
        allow().check_host(host, LOOPBACK)


def test_from_elsewhere_an_address_in_numbers_is_a_fair_name_and_a_strange_one_is_not() -> None:
    allow().check_host("192.168.1.5:8188", ELSEWHERE)
    allow().check_host("[2001:db8::1]:8188", "2001:db8::1")
    with pytest.raises(Forbidden):
        allow().check_host("rebound.example", ELSEWHERE)


def test_listed_names_are_answered_to_and_a_star_stands_for_names_below_only() -> None:
    allowed = allow(allowed_hosts=("studio.example", "*.darkroom.example"))
    allowed.check_host("Studio.example:443", LOOPBACK)
    allowed.check_host("a.darkroom.example", LOOPBACK)
    for host in ("darkroom.example", "evildarkroom.example", "x.studio.example"):
        with pytest.raises(Forbidden):
            allowed.check_host(host, LOOPBACK)


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://localhost:8188", "localhost:8188", True),
        ("https://studio.example", "studio.example", True),
        ("http://localhost:3000", "localhost:8188", False),
        ("null", "null", False),
        ("ftp://localhost:8188", "localhost:8188", False),
        ("http://[bad", "localhost:8188", False),
        ("http://localhost:8188@evil.example", "localhost:8188", False),
    ],
)
def test_a_page_is_ours_only_where_scheme_and_whole_place_agree(origin: str, host: str, is_own: bool) -> None:
    assert allow().is_own(origin, host) is is_own


def test_an_origin_is_listed_by_its_whole_name() -> None:
    allowed = allow(allowed_origins=("https://studio.example/",))
    assert allowed.is_listed("https://Studio.example")
    assert not allowed.is_listed("https://studio.example.evil.example")
    assert not allowed.is_listed("http://studio.example")


def test_a_host_header_is_read_with_brackets_and_without_its_port() -> None:
    assert [host_name(text) for text in ("[::1]:8188", "[::1]", "A.b:1", "a.b")] == ["::1", "::1", "a.b", "a.b"]


def test_what_is_somebody_elses_is_not_found_but_by_operators() -> None:
    Caller("ours", frozenset({USER})).check_owns("ours", "…")
    Caller("ours", frozenset({OPERATOR})).check_owns("theirs", "…")
    with pytest.raises(NotFound):
        Caller("ours", frozenset({USER})).check_owns("theirs", "…")

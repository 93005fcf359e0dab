"""Whose address counts behind proxies, and which lists it fits."""

from __future__ import annotations

import ipaddress

import pytest

from darkroom.config import ServeSettings
from darkroom.errors import Forbidden
from darkroom.gateway.network import Networks, is_near, parse_address

PROXIES = ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")


def client(peer: str, *forwarded: str) -> str:
    networks = Networks(ServeSettings(trusted_proxies=PROXIES))
    return str(networks.client_of(parse_address(peer), forwarded))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: not believed
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["1.2.3.4, 203.0.113.9"], "203.0.113.9"),
        ("127.0.0.1", ["1.2.3.4", "203.0.113.9, 10.1.1.1"], "203.0.113.9"),
        ("127.0.0.1", ["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
        ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.9:80"], "203.0.113.9"),
        ("127.0.0.1", ["203.0.113.9, unknown"], "None"),
        ("127.0.0.1", [""], "None"),
        ("127.0.0.1", ["203.0.113.9,"], "None"),
        ("", ["203.0.113.9"], "None"),
    ],
)
def test_the_rightmost_hop_that_is_not_ours_is_the_client(peer: str, forwarded: list[str], expected: str) -> None:
    assert client(peer, *forwarded) == expected


def fits(address: str, **lists: tuple[str, ...]) -> bool:
    try:
        Networks(ServeSettings(**lists)).check(parse_address(address))  # type: ignore[arg-type]
    except Forbidden:
        return False
    return True


def test_a_denial_stands_above_what_is_allowed() -> None:
    lists = {"allowed_ips": ("10.0.0.0/8",), "denied_ips": ("10.6.0.0/16",)}
    assert [fits(address, **lists) for address in ("10.1.1.1", "10.6.1.1", "11.1.1.1")] == [True, False, False]


def test_an_address_that_cannot_be_told_fits_no_list_and_may_call_where_there_is_none() -> None:
    assert fits("nobody")
    assert not fits("nobody", denied_ips=("10.0.0.0/8",))
    assert not fits("nobody", allowed_ips=("0.0.0.0/0", "::/0"))


def test_an_address_of_the_old_kind_is_the_same_within_the_new() -> None:
    assert parse_address("::ffff:10.0.0.1") == ipaddress.ip_address("10.0.0.1")
    assert not fits("::ffff:10.6.1.1", denied_ips=("10.6.0.0/16",))
    assert is_near("::ffff:127.0.0.1")
    assert not is_near("::ffff:10.0.0.1")
    assert not is_near("")

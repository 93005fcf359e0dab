"""Only public addresses are fetched from, and the one that was judged is the one that is connected to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom.errors import BadInput
from darkroom.storage.guard import Reach, reach_of, resolve
from darkroom.storage.incoming import PictureLimits, fetch_url

LIMITS = PictureLimits(max_bytes=100_000, max_pixels=100_000, timeout_s=20.0)


def words(text: str) -> list[str]:
    return text.split()


PRIVATE = words("""
127.0.0.1 127.255.255.254 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 198.18.0.1 192.0.2.1
198.51.100.1 203.0.113.1 ::1 fc00::1 fdff::1 ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::127.0.0.1
64:ff9b::10.0.0.1""")
NEVER = words("""
0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 100.100.100.200 168.63.129.16 192.0.0.192 192.88.99.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 :: ::2 ::8.8.8.8 ::ffff:169.254.169.254 64:ff9b::169.254.169.254
64:ff9b:1::8.8.8.8 fe80::1 febf::1 fec0::1 ff02::1 fd00:ec2::254 fd20:ce::254 2001::1 2001:db8::1 2002:7f00:1::1
2002:808:808::1 3fff::1 4000::1 100::1 5f00::1""")
PUBLIC = words(
    "1.1.1.1 8.8.8.8 172.15.255.255 172.32.0.1 192.167.1.1 11.0.0.1 2606:4700::1111 2a00:1450::1 64:ff9b::8.8.8.8"
)


@pytest.mark.parametrize(
    ("address", "reach"),
    [(address, Reach.PRIVATE) for address in PRIVATE]
    + [(address, Reach.NEVER) for address in NEVER]
    + [(address, Reach.PUBLIC) for address in PUBLIC],
)
def test_an_address_is_public_private_or_never_fetched_from(address: str, reach: Reach) -> None:
    assert reach_of(ipaddress.ip_address(address)) is reach


@given(st.ip_addresses(v=4))
def test_no_disguise_makes_an_address_more_public(address: ipaddress.IPv4Address) -> None:
    plain = reach_of(address)
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    tunnelled = ipaddress.IPv6Address((0x2002 << 112) + (int(address) << 80) + 1)
    assert reach_of(mapped) >= max(plain, Reach.PRIVATE)
    assert reach_of(translated) == plain
    assert reach_of(tunnelled) is Reach.NEVER


@given(st.ip_addresses())
def test_what_python_knows_to_be_special_is_never_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if reach_of(address) is Reach.PUBLIC and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address.is_global
        special = (address.is_multicast, address.is_reserved, address.is_link_local, address.is_loopback)
        assert not any(special)


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
def test_a_name_at_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(BadInput, match=r"a\.example is not at a public address") as caught:
        fetch_url("https://a.example/x.png", "image", LIMITS, resolver=lambda *_: [address])
    assert caught.value.field == "image"
    assert "see allow_private_urls" in caught.value.message
    assert address not in caught.value.message  # a stranger learns nothing of the names and addresses inside


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_refused_even_where_private_ones_are_allowed(address: str) -> None:
    with pytest.raises(BadInput, match="not at a public address"):
        fetch_url("http://a.example/x.png", "image", LIMITS, True, resolver=lambda *_: [address])


def test_one_bad_address_among_good_ones_is_refused() -> None:
    with pytest.raises(BadInput, match="not at a public address"):
        fetch_url("https://a.example/", "image", LIMITS, resolver=lambda *_: ["8.8.8.8", "127.0.0.1"])


@pytest.mark.parametrize(
    "host",
    words("""
    127.0.0.1 localhost 0 127.1 2130706433 0x7f000001 0177.0.0.1 0x7f.1 [::1] [::ffff:127.0.0.1] [::ffff:7f00:1]
    [0:0:0:0:0:0:0:1] 169.254.169.254 10.0.0.1 [fe80::1] [::] 0.0.0.0 127.0.0.1. 127。0。0。1"""),
)
def test_no_spelling_of_a_private_address_is_fetched(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(BadInput):
            fetch_url(f"https://{host}:{listener.getsockname()[1]}/", "image", LIMITS)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):  # a connection that was made all the same would be waiting
            listener.accept()


def test_a_name_is_resolved_once_and_the_judged_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a name that is public when judged, and loopback when asked again."""
    connected: list[tuple[str, int]] = []
    answers = iter([["203.0.114.7"], ["127.0.0.1"]])

    def refuse(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError(111, "nobody there")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(BadInput, match=r"a\.example could not be read from"):
        fetch_url("https://a.example/x.png", "image", LIMITS, resolver=lambda *_: next(answers))
    assert connected == [("203.0.114.7", 443)]


def test_further_addresses_are_tried_when_the_first_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[str] = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError(111, "nobody there")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(BadInput):
        fetch_url("https://a.example/", "image", LIMITS, resolver=lambda *_: ["2606:4700::1111", "1.1.1.1"])
    assert connected == ["2606:4700::1111", "1.1.1.1"]


def never(host: str, port: int) -> Sequence[str]:
    raise AssertionError(f"{host} was looked up")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/a.png", "must begin with https://"),
        ("ftp://example.com/a.png", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("gopher://example.com/", "must begin with https://"),
        ("//example.com/a.png", "must begin with https://"),
        ("example.com/a.png", "must begin with https://"),
        ("https:///a.png", "must begin with https://"),
        ("", "must begin with https://"),
        ("https://user:secret@example.com/a.png", "user name or password"),
        ("https://user@example.com/a.png", "user name or password"),
        ("https://example.com:port/", "cannot be read"),
        ("https://example.com/\n", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://example.com/" + "a" * 100_000, "cannot be read"),
    ],
)
def test_a_url_that_may_not_be_fetched_is_refused_before_any_look_up(url: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        fetch_url(url, "mask_image", LIMITS, resolver=never)
    assert caught.value.field == "mask_image"
    assert "upload the picture instead" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("host", ["no.such.invalid", "a" * 64 + ".com", "xn--a.invalid", "%00.invalid"])
def test_a_name_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(BadInput):
        fetch_url(f"https://{host}/", "image", LIMITS)


def test_the_systems_resolver_gives_each_address_once() -> None:
    found = resolve("localhost", 443)
    assert len(found) == len(set(found)) > 0
    assert all(ipaddress.ip_address(address).is_loopback for address in found)


@given(st.text(max_size=60))
def test_no_text_is_fetched_by_mistake(text: str) -> None:
    with pytest.raises(BadInput):
        fetch_url(text, "image", LIMITS, resolver=lambda *_: ["127.0.0.1"])


@given(st.text(min_size=1, max_size=60))
def test_no_host_gets_round_the_guard(text: str) -> None:
    with pytest.raises(BadInput):
        fetch_url(f"https://{text}/x.png", "image", LIMITS, resolver=lambda *_: ["127.0.0.1"])

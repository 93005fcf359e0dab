"""Who may come in by their address, which pages one is sent to, and what a priority class does to a priority."""

from __future__ import annotations

import pytest

from darkroom.access_settings import OidcSettings
from darkroom.core import PRIORITY_STEPS, asked_priority, effective_priority, priority_class_of
from darkroom.errors import BadInput
from darkroom.gateway.access import OPERATOR, USER
from darkroom.gateway.sessions import People, cookie_name, normal_email
from darkroom.gateway.sign_in import FIRST_PAGE, local_page


def guests(**said: tuple[str, ...]) -> People:
    return People(OidcSettings(issuer="https://accounts.example", client_id="x", **said))  # type: ignore[arg-type]


def test_addresses_and_whole_domains_are_allowed_and_operators_are_named() -> None:
    who = guests(
        allowed_emails=("Ann@Example.org",), allowed_domains=("Studio.example",), operators=("bob@example.org",)
    )
    assert who.roles_of("ann@example.org") == {USER}
    assert who.roles_of("any@studio.example") == {USER}
    assert who.roles_of("bob@example.org") == {USER, OPERATOR}
    for email in (
        "eve@example.org",
        "x@sub.studio.example",
        "x@studio.example.evil.example",
        "ann@example.org@evil.example",
    ):
        assert who.roles_of(email) is None


def test_an_address_is_compared_small_and_plain() -> None:
    assert normal_email("Ann@Example.Org") == "ann@example.org"
    for said in (
        None,
        7,
        "",
        "ann",
        "@example.org",
        "ann@",
        "a nn@example.org",
        "ann@boo\u212a.org",
        "a\n@example.org",
    ):
        assert normal_email(said) is None


@pytest.mark.parametrize("page", ["/", "/ui", "/ui/jobs?a=b&c=d#x", "/docs"])
def test_a_page_of_ours_can_be_come_back_to(page: str) -> None:
    assert local_page(page) == page
    assert local_page(None) == FIRST_PAGE


@pytest.mark.parametrize(
    "page", ["", "ui", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/é", "/ "]
)
def test_a_page_elsewhere_cannot(page: str) -> None:
    with pytest.raises(BadInput):
        local_page(page)


def test_over_tls_a_cookie_belongs_to_this_very_host() -> None:
    assert [cookie_name(scheme) for scheme in ("http", "ws")] == ["darkroom_session"] * 2
    assert [cookie_name(scheme) for scheme in ("https", "wss")] == ["__Host-darkroom_session"] * 2


def test_classes_are_further_apart_than_priorities_reach() -> None:
    for name in PRIORITY_STEPS:
        for priority in (-100, -1, 0, 1, 100):
            stored = effective_priority(name, priority)
            assert (priority_class_of(stored), asked_priority(stored)) == (name, priority)
    assert effective_priority("low", 100) < effective_priority("normal", -100)
    assert effective_priority("normal", 100) < effective_priority("high", -100)

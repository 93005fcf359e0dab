"""People sign in with the issuer of `[oidc]` in their browser, are told why they may not, and sign out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.integration.gateway_site import Site
from tests.integration.oidc_issuer import Issuer
from tests.integration.oidc_site import site_with

from .browser import PHONE, Visit, visit


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer().serving() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("people")
    with site_with(home, issuer, allowed_domains=("example.org",), name="Example") as found:
        yield found


def enter(visitor: Visit, room: str = "") -> None:
    """Go to a room, and from its door to the issuer and back."""
    visitor.go(room)
    visitor.page.get_by_role("link", name="Sign in with Example").click()


def test_one_signs_in_comes_back_to_the_room_and_signs_out(browser: Browser, site: Site, issuer: Issuer) -> None:
    issuer.behave()
    with visit(browser, site.url) as visitor:
        enter(visitor, "library")
        page = visitor.page
        account = page.get_by_role("button", name="ann@example.org: your account")
        expect(account).to_be_visible()
        assert page.url == f"{site.url}/ui/library"
        expect(page.get_by_text("Connected", exact=True)).to_be_attached()  # the live feed takes the cookie
        page.reload()
        account.click()
        visitor.shoot("sign-in-account", is_whole=False)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert page.context.cookies(f"{site.url}/auth/me") == []


def test_a_key_that_was_revoked_does_not_stand_in_the_way(browser: Browser, site: Site, issuer: Issuer) -> None:
    issuer.behave()
    with visit(browser, site.url) as visitor:
        visitor.page.add_init_script(
            "if (!window.name) localStorage.setItem('darkroom.key', 'dk_old'); name = 'known';"
        )
        enter(visitor)
        expect(visitor.page.get_by_role("button", name=re.compile("^ann@example.org"))).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_who_may_not_come_in_is_told_why(browser: Browser, site: Site, issuer: Issuer, theme: str) -> None:
    issuer.behave()
    issuer.email = "eve@elsewhere.example"
    with visit(browser, site.url, theme=theme, size=PHONE) as visitor:
        enter(visitor)
        page = visitor.page
        expect(page.get_by_role("alert")).to_contain_text("That address may not sign in here")
        assert page.url == f"{site.url}/ui/"
        assert visitor.violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        visitor.shoot(f"sign-in-refused-{theme}", is_whole=False)
        issuer.behave()
        page.get_by_role("link", name="Sign in with Example").click()
        expect(page.get_by_role("button", name=re.compile("^ann@example.org"))).to_be_visible()

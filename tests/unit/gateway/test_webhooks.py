"""Webhook calls: signatures that the standard's own library takes, pauses, turns, and URLs that are never called."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from darkroom.config import ServeSettings
from darkroom.core import Delivery
from darkroom.errors import BadInput
from darkroom.gateway.deliveries import (
    HOST_THREADS,
    HOST_WAITING,
    TENANT_THREADS,
    TENANT_WAITING,
    THREADS,
    Held,
    Turns,
    next_at_of,
)
from darkroom.gateway.signing import Signer
from darkroom.gateway.webhooks import Outcome, check_url, shown_secret, signed, wait_asked

SERVE = ServeSettings()
DAY_S = 24 * 3600.0
FAILED = Outcome(500, "it answered with HTTP status 500")


@given(
    tenant=st.text(),
    text=st.text(st.characters(exclude_categories=["Cs"])),
    delivery_id=st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True),
)
def test_what_we_sign_the_official_library_verifies(tenant: str, text: str, delivery_id: str) -> None:
    signer, body = Signer(b"a secret of the server"), text.encode()
    key = signer.webhook_key(tenant)
    assert 24 <= len(key) <= 64, "the standard's bounds"
    headers = signed([key], delivery_id, time.time(), body)
    Webhook(shown_secret(key)).verify(body, headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown_secret(key)).verify(body + b" ", headers, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown_secret(signer.webhook_key(tenant + "x"))).verify(body, headers, json_parse=False)


def test_another_server_has_other_keys() -> None:
    assert Signer(b"one").webhook_key("a") != Signer(b"two").webhook_key("a")


def test_attempts_span_about_a_day() -> None:
    at, times = 0.0, []
    for attempts in range(1, SERVE.webhook_attempts):
        found = next_at_of(FAILED, attempts, at, SERVE, 0.5)
        assert found is not None
        at = found
        times.append(at)
    assert len(times) == 7
    assert 0.8 * DAY_S < at < 1.2 * DAY_S
    assert next_at_of(FAILED, SERVE.webhook_attempts, at, SERVE, 0.5) is None


@given(attempts=st.integers(1, 7), chance=st.floats(0, 1))
def test_a_pause_quadruples_and_no_two_are_alike(attempts: int, chance: float) -> None:
    found = next_at_of(FAILED, attempts, 1000.0, SERVE, chance)
    pause_s = SERVE.webhook_retry_s * 4 ** (attempts - 1)
    assert found is not None
    assert 0.8 * pause_s <= found - 1000.0 <= 1.2 * pause_s


def test_a_receiver_may_ask_for_more_time_and_for_no_more() -> None:
    asked = Outcome(503, "busy", retry_after_s=7200.0)
    assert next_at_of(asked, 1, 0.0, SERVE, 0.5) == 7200.0
    assert next_at_of(Outcome(410, "gone"), 1, 0.0, SERVE, 0.5) is None
    assert next_at_of(Outcome(204, None), 1, 0.0, SERVE, 0.5) is None


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("999999999", DAY_S),
        ("9" * 5000, DAY_S),
        ("Thu, 01 Jan 1970 00:20:00 GMT", 200.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        *[(text, 0.0) for text in ("", "soon", "-1", "1.5", "٣", "Thu, 99 Jan 1970")],
        *[
            (f"1 Jan {text}", 0.0)
            for text in (f"{'9' * 20} 00:00:00", "2026 00:00:00 +" + "9" * 14, f"2026 {'9' * 17}:0:0")
        ],
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, wait_s: float) -> None:
    assert wait_asked(said, 1000.0) == wait_s


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/", "ftp://example.org/", "example.org", "", "https://", "https://user@example.org/",
        "https://user:word@example.org/", "https://127.0.0.1/", "https://127.1/", "https://2130706433/",
        "https://0x7f.1/", "https://10.1.2.3/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://169.254.169.254/",
        "https://localhost/", "https://a.localhost./", "https://0/", "https://" + "a" * 70 + ".org/",
        "https://example.org/" + "x" * 2048,
    ],
)  # fmt: skip
def test_a_url_that_can_be_judged_alone_is_judged_at_the_door(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_url(url, allow_private=False)
    assert caught.value.field == "webhook"


@pytest.mark.parametrize("url", ["http://example.org/", "https://10.0.0.1/", "https://localhost/"])
def test_a_refusal_names_the_setting_that_would_admit_it(url: str) -> None:
    with pytest.raises(BadInput, match="see allow_private_webhooks"):
        check_url(url, allow_private=False)


def test_where_private_addresses_are_admitted_no_setting_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        check_url("https://169.254.169.254/", allow_private=True)
    assert "allow_private" not in caught.value.message


def test_private_addresses_and_http_are_taken_where_allowed() -> None:
    for url in ("http://127.0.0.1:9/", "http://localhost/", "https://10.0.0.1/"):
        check_url(url, allow_private=True)
    for url in ("http://169.254.169.254/", "https://u:p@example.org/"):
        with pytest.raises(BadInput):
            check_url(url, allow_private=True)
    check_url("https://example.org/hook?token=1", allow_private=False)


def held(host: str, number: int = 0, tenant: str = "t") -> Held:
    delivery = Delivery(f"{host}-{number}", "job", f"https://{host}/", "failed", "pending", 0.0, 0.0, tenant=tenant)
    return Held(delivery, host, 1e12)


def begun(turns: Turns) -> list[Held]:
    found = []
    while (each := turns.next()) is not None:
        found.append(each)
    return found


def hosts(found: list[Held]) -> list[str]:
    return [each.host for each in found]


def test_one_host_has_a_few_threads_and_the_others_the_rest() -> None:
    turns = Turns()
    for number in range(50):
        turns.add(held("slow", number))
    slow = begun(turns)
    assert hosts(slow) == ["slow"] * HOST_THREADS
    turns.add(held("quick"))
    assert hosts(begun(turns)) == ["quick"]
    turns.done(slow[0])
    assert hosts(begun(turns)) == ["slow"]


def test_a_tenants_hosts_go_in_turn_and_have_bounded_threads_together() -> None:
    turns = Turns()
    for host in ("a", "b", "c", "d", "e", "f"):
        for number in range(5):
            turns.add(held(host, number))
    found = hosts(begun(turns))
    assert len(found) == TENANT_THREADS
    assert found[:6] == ["a", "b", "c", "d", "e", "f"]
    assert max(found.count(host) for host in found) <= HOST_THREADS


def test_a_tenant_of_many_slow_hosts_holds_no_other_up() -> None:
    turns = Turns()
    for number in range(200):
        turns.add(held(f"slow-{number}", tenant="many"))
    assert {each.tenant for each in begun(turns)} == {"many"}
    for number in range(3):
        turns.add(held("slow-0", number, tenant="one"))
    assert [(each.tenant, each.host) for each in begun(turns)] == [("one", "slow-0")] * 3, (
        "the same host, its own bound"
    )


def test_tenants_go_in_turn_and_all_together_have_bounded_threads() -> None:
    turns = Turns()
    for tenant in ("x", "y", "z"):
        for host in ("a", "b", "c", "d"):
            for number in range(5):
                turns.add(held(host, number, tenant))
    found = begun(turns)
    assert len(found) == THREADS
    assert [each.tenant for each in found[:6]] == ["x", "y", "z", "x", "y", "z"]
    assert turns.next() is None
    turns.done(found[0])
    assert turns.next() is not None


def served(turns: Turns) -> list[Held]:
    """All that waits, as it is begun and done."""
    found: list[Held] = []
    while now := begun(turns):
        for each in now:
            turns.done(each)
        found += now
    return found


def test_what_waits_for_one_host_is_bounded_and_another_still_gets_in() -> None:
    turns = Turns()
    for number in range(2 * HOST_WAITING):
        turns.add(held("slow", number))
    turns.add(held("quick"))
    assert len(served(turns)) == HOST_WAITING + 1


def test_what_waits_for_one_tenant_is_bounded_and_another_still_gets_in() -> None:
    turns = Turns()
    for number in range(2 * TENANT_WAITING):
        turns.add(held(f"host-{number}", tenant="many"))
    turns.add(held("host-0", tenant="one"))
    assert [each.tenant for each in served(turns)].count("many") == TENANT_WAITING
    assert turns.next() is None

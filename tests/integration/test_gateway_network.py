"""Where a request comes from: trusted proxies, lists of addresses, and what both mean for who is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from .callers import add_key
from .gateway_site import open_site, wait_until

CLIENT = "203.0.113.9"


def from_client(*hops: str) -> dict[str, str]:
    """What a proxy on this machine sends with a request of the last of these."""
    return {"X-Forwarded-For": ", ".join(hops)}


def test_a_denied_address_gets_nothing_through_a_trusted_proxy(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="open", denied_ips=("203.0.113.0/24",)) as site:
        for path in ("/v1/jobs", "/healthz", "/docs", "/nowhere"):
            status, error = site.refused("GET", path, headers=from_client(CLIENT))
            assert (status, error["code"]) == (403, "forbidden")
            assert CLIENT in error["message"]
        job_id = site.submit(headers=from_client("198.51.100.1"))["id"]
        with pytest.raises(InvalidStatus) as caught, site.socket(f"/v1/jobs/{job_id}/ws", **from_client(CLIENT)):
            pass
        assert caught.value.response.status_code == 403


@pytest.mark.parametrize("hops", [("127.0.0.1", CLIENT), ("198.51.100.1", CLIENT), ("::1", f"::ffff:{CLIENT}")])
def test_what_a_client_says_of_itself_does_not_hide_it(tmp_path: Path, hops: tuple[str, ...]) -> None:
    with open_site(tmp_path, auth="open", denied_ips=(CLIENT,)) as site:
        assert site.refused("GET", "/v1/jobs", headers=from_client(*hops))[0] == 403


def test_only_listed_addresses_may_call_where_there_is_a_list(tmp_path: Path) -> None:
    allowed = ("198.51.100.0/24", "2001:db8::/32")
    with open_site(tmp_path, auth="open", allowed_ips=allowed, denied_ips=("198.51.100.66",)) as site:
        for address in ("198.51.100.7", "2001:db8::7", "::ffff:198.51.100.7", "[2001:db8::7]:443"):
            assert site.http.get("/v1/jobs", headers=from_client(address)).status_code == 200, address
        for address in (CLIENT, "198.51.100.66", "2001:db9::7", "unknown", "", "198.51.100.7 evil"):
            assert site.refused("GET", "/v1/jobs", headers=from_client(address))[0] == 403, address
        assert site.refused("GET", "/v1/jobs")[0] == 403  # this machine is not in the list


def test_a_peer_that_is_no_proxy_of_ours_says_nothing_of_others(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="open", trusted_proxies=(), denied_ips=(CLIENT,)) as site:
        headers = {**from_client(CLIENT), "X-Forwarded-Proto": "https"}
        assert site.http.get("/v1/jobs", headers=headers).status_code == 200
        assert site.submit(headers=headers)["links"]["self"].startswith("http://")


def test_a_chain_of_proxies_is_followed_to_the_first_that_is_not_ours(tmp_path: Path) -> None:
    trusted = ("127.0.0.1/32", "10.0.0.0/8")
    with open_site(tmp_path, auth="open", trusted_proxies=trusted, denied_ips=(CLIENT,)) as site:
        assert site.refused("GET", "/v1/jobs", headers=from_client("1.2.3.4", CLIENT, "10.0.0.2"))[0] == 403
        assert site.http.get("/v1/jobs", headers=from_client(CLIENT, "1.2.3.4", "10.0.0.2")).status_code == 200


def test_without_keys_strangers_behind_a_proxy_are_asked_and_this_machine_is_not(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        assert site.http.get("/v1/jobs").status_code == 200
        for address in (CLIENT, "unknown", "10.0.0.1"):
            status, error = site.refused("GET", "/v1/jobs", headers=from_client(address))
            assert (status, error["code"]) == (401, "unauthorised")


@pytest.mark.parametrize("trusted", [("127.0.0.1/32",), ()])
@pytest.mark.parametrize(
    "headers",
    [
        {"Forwarded": "for=203.0.113.9"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "127.0.0.1"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "localhost"},
        {"X-Forwarded-For": ""},
    ],
)
def test_without_keys_a_proxy_that_hides_its_client_is_a_strangers(
    tmp_path: Path, headers: dict[str, str], trusted: tuple[str, ...]
) -> None:
    with open_site(tmp_path, trusted_proxies=trusted) as site:
        assert site.refused("GET", "/v1/workers", headers=headers)[0] == 401
        assert site.http.get("/v1/workers").status_code == 200


def test_a_proxy_that_hides_its_client_fits_no_list(tmp_path: Path) -> None:
    with open_site(tmp_path, auth="open", denied_ips=(CLIENT,)) as site:
        assert site.refused("GET", "/v1/jobs", headers={"Via": "1.1 proxy"})[0] == 403
        assert site.http.get("/v1/jobs", headers={"Via": "1.1 proxy", **from_client("10.0.0.1")}).status_code == 200


def test_an_untrusted_proxy_on_this_machine_opens_nothing_whatever_it_says(tmp_path: Path) -> None:
    with open_site(tmp_path, trusted_proxies=()) as site:
        assert site.refused("GET", "/v1/workers", headers=from_client("127.0.0.1"))[0] == 401


def test_an_insecure_gateway_is_open_to_strangers_until_there_is_a_key(tmp_path: Path) -> None:
    with open_site(tmp_path, parts={"is_insecure": True}) as site:
        assert site.http.get("/v1/jobs", headers=from_client(CLIENT)).status_code == 200
        add_key(site.store, "ann")
        wait_until(lambda: site.http.get("/v1/jobs", headers=from_client(CLIENT)).status_code == 401)


def test_the_proxys_word_on_tls_is_heard(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        near = from_client("127.0.0.1")
        links = site.submit(headers={**near, "X-Forwarded-Proto": "https"})["links"]
        assert links["self"].startswith("https://")
        assert links["ws"].startswith("wss://")
        assert site.submit(headers={**near, "X-Forwarded-Proto": "gopher"})["links"]["self"].startswith("http://")

"""Signing in against an OpenID Connect issuer, and what somebody who has signed in may do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from .gateway_site import PROMPT, Site
from .oidc_issuer import CLIENT_ID, Issuer
from .oidc_site import site_with


@pytest.fixture(scope="module")
def house_issuer() -> Iterator[Issuer]:
    with Issuer().serving() as found:
        yield found


@pytest.fixture
def issuer(house_issuer: Issuer) -> Issuer:
    house_issuer.behave()
    return house_issuer


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, house_issuer: Issuer) -> Iterator[Site]:
    with site_with(tmp_path_factory.mktemp("house"), house_issuer) as found:
        yield found


@pytest.fixture
def site(house: Site, issuer: Issuer) -> Site:
    """The house, whose issuer behaves so far."""
    return house


@contextmanager
def browser(site: Site) -> Iterator[httpx.Client]:
    """A browser: it keeps cookies and goes where it is sent."""
    with httpx.Client(base_url=site.url, follow_redirects=True, timeout=60) as client:
        yield client


def sign_in(client: httpx.Client, path: str = "/auth/login") -> httpx.Response:
    return client.get(path)


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["field"]


# ---- the way in ----


def test_who_has_signed_in_is_a_tenant_by_their_address(site: Site, issuer: Issuer) -> None:
    with browser(site) as ann:
        assert ann.get("/v1/jobs").status_code == 401
        answer = sign_in(ann)
        assert answer.url.path == "/auth/me"
        me = {"tenant": "ann@example.org", "roles": ["user"], "key_id": None, "email": "ann@example.org"}
        assert answer.json() == {**me, "is_guest": False}
        made = ann.post("/v1/jobs", json={"input": PROMPT})
        assert (made.status_code, made.json()["tenant"]) == (202, "ann@example.org")
        assert ann.get("/v1/workers").status_code == 403
        with ann.stream("GET", f"/v1/jobs/{made.json()['id']}/events") as stream:  # as EventSource does
            assert next(stream.iter_lines()).startswith("id: ")
    [redeemed] = issuer.seen["/token"]
    assert len(redeemed["code_verifier"]) >= 43
    assert "client_secret" not in redeemed


def test_an_operator_is_known_by_address_whatever_its_case(site: Site, issuer: Issuer) -> None:
    issuer.email = "Bob@Example.org"
    with browser(site) as bob:
        assert sign_in(bob).json()["roles"] == ["operator", "user"]
        assert bob.get("/v1/workers").status_code == 200


def test_two_people_see_each_their_own(site: Site, issuer: Issuer) -> None:
    with browser(site) as ann, browser(site) as eve:
        sign_in(ann)
        issuer.email = "eve@example.org"
        sign_in(eve)
        job_id = ann.post("/v1/jobs", json={"input": PROMPT}).json()["id"]
        assert ann.get(f"/v1/jobs/{job_id}").status_code == 200
        assert eve.get(f"/v1/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize(
    ("email", "is_verified"),
    [
        ("ann@elsewhere.example", True),
        ("ann@sub.example.org", True),
        ("ann@example.org.evil.example", True),
        ("ann@evilexample.org", True),
        ("ann@example.org", False),
        ("ann@example.org", None),
        ("ann@example.org", "true"),
        ("example.org", True),
        ("", True),
        (["ann@example.org"], True),
        ("ann@evil.example\n@example.org", True),
        ("an\u212a@example.org", True),  # the Kelvin sign, a small k when it is made small
    ],
)
def test_who_is_not_allowed_or_not_verified_stays_outside(
    site: Site, issuer: Issuer, email: Any, is_verified: Any
) -> None:
    issuer.claims = {"email": email, "email_verified": is_verified}
    with browser(site) as stranger:
        assert refusal(sign_in(stranger)) == (403, "forbidden", "email")
        assert stranger.get("/v1/jobs").status_code == 401


def test_everybody_at_the_issuer_may_come_in_where_that_is_said(tmp_path: Path, issuer: Issuer) -> None:
    issuer.email = "eve@anywhere.example"
    with site_with(tmp_path, issuer, allowed_domains=("*",)) as site, browser(site) as eve:
        assert sign_in(eve).json()["tenant"] == "eve@anywhere.example"


@pytest.mark.parametrize(
    ("email", "hosted", "status"),
    [
        ("ann@example.org", "example.org", 200),
        ("ann@example.org", "Example.ORG", 200),
        ("ann@example.org", None, 403),  # anybody's account, with an address that was verified once
        ("ann@example.org", "elsewhere.example", 403),
        ("ann@example.org", ["example.org"], 403),
        ("bob@example.org", None, 200),  # who is named needs no domain
    ],
)
def test_a_domain_lets_in_the_accounts_that_it_manages_where_anybody_may_have_one(
    site: Site, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, email: str, hosted: Any, status: int
) -> None:
    monkeypatch.setattr("darkroom.gateway.sign_in.GOOGLE", issuer.url)
    issuer.email, issuer.claims = email, {"hd": hosted}
    with browser(site) as somebody:
        answer = sign_in(somebody)
        assert answer.status_code == status
        assert status == 200 or refusal(answer) == (403, "forbidden", "hd")


def test_elsewhere_a_verified_address_of_the_domain_will_do(site: Site, issuer: Issuer) -> None:
    with browser(site) as ann:
        assert sign_in(ann).status_code == 200


def test_an_address_that_only_userinfo_says_will_do(site: Site, issuer: Issuer) -> None:
    issuer.is_thin = True
    with browser(site) as ann:
        assert sign_in(ann).json()["email"] == "ann@example.org"
    assert len(issuer.seen["/userinfo"]) == 1


def test_userinfo_of_somebody_else_will_not(site: Site, issuer: Issuer) -> None:
    issuer.is_thin, issuer.claims = True, {"sub": "person-8"}
    with browser(site) as ann:
        assert refusal(sign_in(ann)) == (403, "forbidden", "email")


def test_keys_that_the_issuer_has_changed_are_read_again(site: Site, issuer: Issuer) -> None:
    with browser(site) as ann:
        sign_in(ann)
        issuer.seen.clear()
        issuer.rotate()
        for _ in range(2):
            assert sign_in(ann).json()["email"] == "ann@example.org"
    assert len(issuer.seen["/jwks"]) == 1


# ---- what does not hold ----


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"iat": int(time.time()) + 3600},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
    ],
)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    site: Site, issuer: Issuer, claims: dict[str, Any]
) -> None:
    issuer.claims = claims
    with browser(site) as ann:
        assert refusal(sign_in(ann)) == (403, "forbidden", "id_token")
        assert ann.get("/auth/me").status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_id_token_that_anybody_could_have_signed_is_refused(site: Site, issuer: Issuer, algorithm: str) -> None:
    issuer.algorithm = algorithm
    with browser(site) as ann:
        assert refusal(sign_in(ann)) == (403, "forbidden", "id_token")


def test_an_id_token_signed_with_somebody_elses_key_is_refused(site: Site, issuer: Issuer) -> None:
    published = issuer.published
    issuer.rotate()
    issuer.published = published
    with browser(site) as ann:
        assert refusal(sign_in(ann)) == (403, "forbidden", "id_token")


def test_a_callback_that_this_browser_did_not_begin_is_refused(site: Site, issuer: Issuer) -> None:
    """Login CSRF: somebody's code in another one's browser."""
    with httpx.Client(base_url=site.url, timeout=60) as evil, browser(site) as ann:
        begun = evil.get("/auth/login").headers["location"]
        back = httpx.get(begun).headers["location"]
        assert refusal(ann.get(back)) == (400, "bad_input", "state")
        ann.get("/auth/login", follow_redirects=False)  # one of her own is under way
        assert refusal(ann.get(back)) == (400, "bad_input", "state")
        assert ann.get("/auth/me").status_code == 401
    assert "/token" not in issuer.seen


def test_a_sign_in_cannot_be_finished_twice_nor_too_late(tmp_path: Path, issuer: Issuer) -> None:
    now = [time.time()]
    with (
        site_with(tmp_path, issuer, {"clock": lambda: now[0]}) as site,
        httpx.Client(base_url=site.url, timeout=60) as ann,
    ):
        back = httpx.get(ann.get("/auth/login").headers["location"]).headers["location"]
        assert ann.get(back).status_code == 303
        assert refusal(ann.get(back))[0] == 400
        back = httpx.get(ann.get("/auth/login").headers["location"]).headers["location"]
        now[0] += 601
        assert refusal(ann.get(back)) == (400, "bad_input", "state")


@pytest.mark.parametrize(
    ("said", "status"),
    [({"error": "access_denied", "code": ""}, 403), ({"code": "wrong"}, 403), ({"iss": "https://evil.example"}, 403)],
)
def test_what_the_issuer_refuses_is_refused(site: Site, issuer: Issuer, said: dict[str, str], status: int) -> None:
    issuer.callback = said
    with browser(site) as ann:
        assert refusal(sign_in(ann))[:2] == (status, "forbidden")


def test_an_issuer_that_calls_itself_otherwise_is_not_believed(tmp_path: Path, issuer: Issuer) -> None:
    issuer.facts = {"issuer": "https://evil.example"}
    with site_with(tmp_path, issuer) as site:
        assert refusal(httpx.get(f"{site.url}/auth/login"))[:2] == (503, "unavailable")


def test_an_issuer_that_is_away_is_said_and_keys_still_open(tmp_path: Path) -> None:
    gone = Issuer()
    gone._server.server_close()
    with site_with(tmp_path, gone) as site:
        answer = site.http.get("/auth/login")
        assert refusal(answer)[:2] == (503, "unavailable")
        assert answer.headers["retry-after"]
        assert site.http.get("/healthz").status_code == 200


def test_an_issuer_that_is_away_is_asked_once_in_a_while(tmp_path: Path, issuer: Issuer) -> None:
    now = [time.time()]
    issuer.facts = {"issuer": "https://evil.example"}
    with site_with(tmp_path, issuer, {"clock": lambda: now[0]}) as site:

        def login(_: int = 0) -> int:
            return httpx.get(f"{site.url}/auth/login", timeout=60).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(login, range(16))) == {503}
        assert len(issuer.seen["/.well-known/openid-configuration"]) == 1
        issuer.facts = {}
        assert login() == 503
        now[0] += 5
        assert login() == 303


def test_its_facts_are_read_once_for_many_who_come_at_once(tmp_path: Path, issuer: Issuer) -> None:
    with site_with(tmp_path, issuer) as site, ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: httpx.get(f"{site.url}/auth/login", timeout=60).status_code, range(16))
        assert set(answers) == {303}
        assert len(issuer.seen["/.well-known/openid-configuration"]) == 1


def test_codes_that_are_redeemed_at_once_are_few(site: Site, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroom.gateway.sign_in.REDEMPTIONS", 0)
    with browser(site) as ann:
        answer = sign_in(ann)
        assert refusal(answer)[:2] == (503, "unavailable")
        assert answer.headers["retry-after"]
    assert "/token" not in issuer.seen


# ---- pages and cookies ----


@pytest.mark.parametrize(
    "page",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a b", "/%0d\n", "/x\r\nSet-Cookie: a=b"],
)
def test_after_signing_in_nobody_is_sent_elsewhere(site: Site, page: str) -> None:
    answer = site.http.get("/auth/login", params={"next": page})
    assert refusal(answer) == (400, "bad_input", "next")


def test_after_signing_in_one_comes_to_the_page_that_was_asked_for(site: Site) -> None:
    with browser(site) as ann:
        assert sign_in(ann, "/auth/login?next=/docs%3Fa%3D1%23b").url.path == "/docs"


def test_what_the_issuer_refuses_is_told_by_the_web_ui_and_names_nothing_but_a_field(
    site: Site, issuer: Issuer
) -> None:
    issuer.email = "eve@elsewhere.example"
    with browser(site) as eve:
        answer = sign_in(eve, "/auth/login?next=/ui/library%3Fq%3Dlake")
        assert (answer.url.path, answer.url.query) == ("/ui/library", b"refused=email")
        assert eve.get("/auth/me").status_code == 401
        begun = eve.get("/auth/login?next=/ui/", follow_redirects=False)
        assert begun.status_code == 303
        back = eve.get("/auth/callback?code=x&state=of-another")
        assert (back.url.path, back.url.query) == ("/ui/", b"refused=state")


def test_an_issuer_that_is_away_is_told_by_the_web_ui(tmp_path: Path, issuer: Issuer) -> None:
    issuer.facts = {"issuer": "https://evil.example"}
    with site_with(tmp_path, issuer) as site:
        answer = httpx.get(f"{site.url}/auth/login?next=/ui/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/?refused=unavailable")


def test_the_way_in_has_the_issuers_name(tmp_path: Path, site: Site, issuer: Issuer) -> None:
    assert site.http.get("/auth/ways").json() == {"issuer": issuer.url.removeprefix("http://")}
    with site_with(tmp_path, issuer, allowed_domains=("*",), name="Example") as named:
        assert named.http.get("/auth/ways").json() == {"issuer": "Example"}


def test_a_sessions_cookie_is_kept_from_scripts_and_from_plain_http(site: Site, issuer: Issuer) -> None:
    over_tls = {"X-Forwarded-Proto": "https"}
    with httpx.Client(base_url=site.url, timeout=60) as client:
        begun = client.get("/auth/login", headers=over_tls)
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        assert asked["redirect_uri"][0].startswith("https://127.0.0.1")
        stash = begun.headers["set-cookie"].split(";")[0]
        back = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
        done = client.get(f"{back.path}?{back.query}", headers={**over_tls, "Cookie": stash})
        cookies = done.headers.get_list("set-cookie")
        [session] = [cookie for cookie in cookies if cookie.startswith("__Host-darkroom_session=")]
        for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
            assert f"; {part}" in session
        assert "Domain" not in session
        assert done.headers["cache-control"] == "no-store"
        value = session.split(";")[0]
        assert client.get("/auth/me", headers={**over_tls, "Cookie": value}).status_code == 200
        plain = value.removeprefix("__Host-")  # as a neighbour without TLS could set it
        assert client.get("/auth/me", headers={**over_tls, "Cookie": plain}).status_code == 401


def test_a_session_ends_in_time_and_by_logging_out_and_cannot_be_changed(tmp_path: Path, issuer: Issuer) -> None:
    now = [time.time()]
    with (
        site_with(tmp_path, issuer, {"clock": lambda: now[0]}, allowed_domains=("example.org",), session_h=1.0) as site,
        browser(site) as ann,
    ):
        sign_in(ann)
        value = ann.cookies["darkroom_session"]
        assert ann.post("/auth/logout").status_code == 204
        assert ann.get("/auth/me").status_code == 401
        head, digest = value.split(".")
        forged = site.gateway.signer.seal("token", {"email": "bob@example.org"}, now[0] + 60)
        for changed in (f"{head}.{digest[:-1]}", f"{head}x.{digest}", head, forged, ""):
            assert httpx.get(f"{site.url}/auth/me", cookies={"darkroom_session": changed}).status_code == 401
        now[0] += 3599
        assert httpx.get(f"{site.url}/auth/me", cookies={"darkroom_session": value}).status_code == 200
        now[0] += 1
        assert httpx.get(f"{site.url}/auth/me", cookies={"darkroom_session": value}).status_code == 401


def test_who_may_no_longer_sign_in_is_out_at_the_next_start(tmp_path: Path, issuer: Issuer) -> None:
    with site_with(tmp_path, issuer) as site, browser(site) as ann:
        sign_in(ann)
        cookies = dict(ann.cookies)
        token = ann.post("/v1/tokens").json()["token"]
        assert site.http.get(f"/v1/jobs?token={token}").status_code == 200
    with site_with(tmp_path, issuer, allowed_emails=("eve@example.org",)) as site:
        assert httpx.get(f"{site.url}/auth/me", cookies=cookies).status_code == 401
        assert httpx.get(f"{site.url}/v1/jobs?token={token}").status_code == 401


def test_a_token_of_somebody_who_signed_in_is_a_users(site: Site, issuer: Issuer) -> None:
    issuer.email = "bob@example.org"
    with browser(site) as bob:
        sign_in(bob)
        token = bob.post("/v1/tokens").json()["token"]
    assert site.http.get(f"/auth/me?token={token}").json()["roles"] == ["user"]
    assert site.http.get(f"/v1/workers?token={token}").status_code == 403


# ---- other people's pages ----


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://studio.example"},  # listed for those who bring a key; a cookie is none
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_cookie_changes_nothing_for_a_foreign_page(tmp_path: Path, issuer: Issuer, headers: dict[str, str]) -> None:
    serve = {"allowed_origins": ("https://studio.example",)}
    with site_with(tmp_path, issuer, serve=serve) as site, browser(site) as ann:
        sign_in(ann)
        job_id = ann.post("/v1/jobs", json={"input": PROMPT}).json()["id"]
        for method, path, body in (
            ("POST", "/v1/jobs", {"input": PROMPT}),
            ("POST", f"/v1/jobs/{job_id}/cancel", None),
            ("DELETE", f"/v1/jobs/{job_id}", None),
            ("PATCH", f"/v1/jobs/{job_id}", {"priority": 1}),
            ("POST", "/v1/tokens", None),
            ("POST", "/auth/logout", None),
        ):
            answer = ann.request(method, path, json=body, headers=headers)
            assert answer.status_code == 403, (method, path)
            assert answer.json()["error"]["field"] == "Origin"
        assert [job["state"] for job in ann.get("/v1/jobs").json()["data"]] == ["queued"]


def test_a_cookie_works_from_our_own_pages(site: Site) -> None:
    with browser(site) as ann:
        sign_in(ann)
        for headers in ({"Origin": site.url}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
            assert ann.post("/v1/jobs", json={"input": PROMPT}, headers=headers).status_code == 202, headers
        # The same name over plain http is another page than ours over TLS.
        assert ann.post("/v1/jobs", json={"input": PROMPT}, headers={"Origin": f"{site.url}0"}).status_code == 403


def test_a_socket_with_a_cookie_is_for_our_own_pages(tmp_path: Path, issuer: Issuer) -> None:
    serve = {"allowed_origins": ("https://studio.example",)}
    with site_with(tmp_path, issuer, serve=serve) as site, browser(site) as ann:
        sign_in(ann)
        job_id = ann.post("/v1/jobs", json={"input": PROMPT}).json()["id"]
        cookie = f"darkroom_session={ann.cookies['darkroom_session']}"
        with site.socket(f"/v1/jobs/{job_id}/ws", Cookie=cookie, Origin=site.url) as connection:
            assert json.loads(connection.recv(timeout=60))["type"] == "queued"
        for origin in ("https://studio.example", "https://evil.example"):
            with pytest.raises(InvalidStatus) as caught:
                site.socket(f"/v1/jobs/{job_id}/ws", Cookie=cookie, Origin=origin)
            assert caught.value.response.status_code == 403


def test_without_an_issuer_nobody_can_sign_in(tmp_path: Path) -> None:
    from .gateway_site import open_site

    with open_site(tmp_path) as site:
        assert site.refused("GET", "/auth/login")[0] == 404
        assert site.http.get("/auth/ways").json() == {"issuer": None}
        assert site.refused("GET", "/auth/callback?code=x&state=y")[0] == 404
        assert site.http.get("/auth/me").json()["tenant"] == "local"

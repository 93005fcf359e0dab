"""Limits of people who sign in: each their own, enforced as a key's are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from darkroom.access_settings import OidcSettings, PersonLimits
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.opening import open_store
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import open_storage

from .gateway_site import PROMPT, Site, running, settings_in
from .oidc_issuer import CLIENT_ID, CLIENT_SECRET, Issuer


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer().serving() as found:
        yield found


@contextmanager
def site_with(home: Path, issuer: Issuer, **limits: Any) -> Iterator[Site]:
    """A gateway where whoever signs in has these limits."""
    oidc = OidcSettings(
        issuer=issuer.url,
        client_id=CLIENT_ID,
        allowed_domains=("example.org",),
        operators=("bob@example.org",),
        limits=PersonLimits(**limits),
    )
    more = {"oidc": oidc, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
    settings = settings_in(home).model_copy(update=more)
    with closing(open_store(settings.store_url)) as store:
        made = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings))
        app = build_app(made)
        with running(app) as url:
            site = Site(url, made, app.state.gateway)
            with site.http:
                yield site


@contextmanager
def person(site: Site, issuer: Issuer, name: str) -> Iterator[httpx.Client]:
    """A browser in which somebody has signed in."""
    issuer.behave()
    issuer.email = f"{name}@example.org"
    with httpx.Client(base_url=site.url, follow_redirects=True, timeout=60) as client:
        assert client.get("/auth/login").status_code == 200
        yield client


def submit(client: httpx.Client, **headers: str) -> httpx.Response:
    return client.post("/v1/jobs", json={"input": PROMPT}, headers=headers)


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"jobs_per_minute": 2}, "jobs_per_minute"),
        ({"live_jobs": 2}, "live_jobs"),
        ({"device_s_per_day": 0.001}, "device_s_per_day"),
        ({"usd_per_day": 0.0}, "usd_per_day"),
    ],
)
def test_a_person_gets_no_further_than_the_limits(
    tmp_path: Path, issuer: Issuer, limits: dict[str, Any], field: str
) -> None:
    with site_with(tmp_path, issuer, **limits) as site, person(site, issuer, "ann") as ann:
        answers = [submit(ann) for _ in range(3)]
        if field == "usd_per_day":  # this device costs nothing
            assert [answer.status_code for answer in answers] == [202] * 3
            assert answers[0].json()["tenant"] == "ann@example.org"
        else:
            assert (answers[-1].status_code, answers[-1].json()["error"]["field"]) == (429, field)
            assert int(answers[-1].headers["retry-after"]) >= 1
        usage = ann.get("/v1/usage").json()
        assert usage["limits"][field] == limits[field]
        assert (usage["key_id"], usage["used"]["live_jobs"]) == (None, [a.status_code for a in answers].count(202))


def test_each_person_has_their_own(tmp_path: Path, issuer: Issuer) -> None:
    with site_with(tmp_path, issuer, live_jobs=1) as site:
        with person(site, issuer, "ann") as ann:
            assert [submit(ann).status_code, submit(ann).status_code] == [202, 429]
            with person(site, issuer, "ann") as again:  # another browser, the same person
                assert submit(again).status_code == 429
        with person(site, issuer, "eve") as eve:
            assert submit(eve).status_code == 202
            assert eve.get("/v1/usage").json()["used"]["live_jobs"] == 1


def test_class_and_weight_come_with_the_sign_in(tmp_path: Path, issuer: Issuer) -> None:
    with site_with(tmp_path, issuer, priority_class="low", weight=2.0) as site, person(site, issuer, "ann") as ann:
        assert submit(ann).json()["priority_class"] == "low"
        usage = ann.get("/v1/usage").json()
        assert (usage["priority_class"], usage["weight"]) == ("low", 2.0)


def test_an_operator_who_signs_in_has_no_limits(tmp_path: Path, issuer: Issuer) -> None:
    with (
        site_with(tmp_path, issuer, live_jobs=1, priority_class="low") as site,
        person(site, issuer, "bob") as bob,
    ):
        assert [submit(bob).status_code for _ in range(2)] == [202] * 2
        assert bob.get("/v1/usage").json()["priority_class"] == "normal"


@pytest.mark.parametrize("wrong", [{"live_jobs": 0}, {"priority_class": "urgent"}, {"weight": 0.0}, {"lives": 1}])
def test_a_limit_that_makes_no_sense_is_refused_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PersonLimits(**wrong)

"""A gateway on loopback, without workers, that sends people to an issuer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from darkroom.access_settings import OidcSettings
from darkroom.gateway.app import build_app
from darkroom.gateway.parts import Parts
from darkroom.jobs.opening import open_store
from darkroom.models.catalogue import catalogue
from darkroom.storage.objects import open_storage

from .gateway_site import Site, running, settings_in
from .oidc_issuer import CLIENT_ID, CLIENT_SECRET, Issuer


@contextmanager
def site_with(
    home: Path, issuer: Issuer, parts: dict[str, Any] | None = None, serve: dict[str, Any] | None = None, **said: Any
) -> Iterator[Site]:
    """A gateway that sends people to the issuer."""
    who = said or {"allowed_domains": ("example.org",), "operators": ("bob@example.org",)}
    oidc = OidcSettings(**{"issuer": issuer.url, "client_id": CLIENT_ID, **who})
    more = {"oidc": oidc, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
    settings = settings_in(home, **(serve or {})).model_copy(update=more)
    with closing(open_store(settings.store_url)) as store:
        made = Parts(settings, store, open_storage(settings.storage_url), catalogue(settings), **(parts or {}))
        app = build_app(made)
        with running(app) as url:
            site = Site(url, made, app.state.gateway)
            with site.http:
                yield site

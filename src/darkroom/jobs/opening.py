"""Which store a URL means; Redis is asked for only where it is used."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from ..config import gateway_key
from ..errors import InvalidConfig, StoreUnavailable
from ..storage.link import Link, is_gateway_url
from .store import Limits, Store

log = logging.getLogger(__name__)

REDIS_SCHEMES = ("redis", "rediss", "unix")
ALLOWED = "sqlite:///PATH, redis://HOST:PORT/DB, rediss://… or unix://PATH; for a worker https://GATEWAY"


def open_store(url: str, limits: Limits | None = None, key: str | None = None) -> Store:
    """The store at `url`, made where it is not there yet. A gateway's URL is a store for its workers, who show it the
    `key` (None: DARKROOM_API_KEY); `limits` are then the gateway's.

    Raises `InvalidConfig` for a URL of no store, `StoreUnavailable` where it cannot be opened, `StoreCorrupt` where it
    is damaged.
    """
    limits = limits or Limits()
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return _open_sqlite(url, limits)
    if scheme in REDIS_SCHEMES:
        return _open_redis(url, limits)
    if is_gateway_url(url):
        return _join(url, key)
    raise InvalidConfig(
        f"store {hide_password(url)!r} is not a store that Darkroom knows; allowed: {ALLOWED}", field="serve.store"
    )


def look_at_store(url: str) -> tuple[bool, list[str]]:
    """Whether the store at `url` is there, and what its settings may lose; makes nothing and migrates nothing.

    Raises what `open_store` raises.
    """
    if urlsplit(url).scheme == "sqlite":
        from .sqlite_files import check_jobs, place_risks

        path = _path_of(url)
        if path.parent.is_dir():
            check_jobs(path)
        return path.exists(), place_risks(path)
    with contextlib.closing(open_store(url)) as store:
        store.check()
        return True, store.settings_risks()


def log_risks(store: Store) -> None:
    """Tell the log what the store's settings may lose."""
    with contextlib.suppress(StoreUnavailable):
        for risk in store.settings_risks():
            log.warning("%s", risk)


def hide_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url


def _join(url: str, key: str | None) -> Store:
    from .http import HttpStore

    return cast(Store, HttpStore(Link(url, gateway_key() if key is None else key)))  # a worker's verbs alone


def _open_sqlite(url: str, limits: Limits) -> Store:
    from .sqlite import SqliteStore

    return SqliteStore(_path_of(url), limits)


def _path_of(url: str) -> Path:
    path = url.removeprefix("sqlite://")
    if not url.startswith("sqlite:///") or path in {"/", "/:memory:"} or path.endswith("/"):
        raise InvalidConfig(f"store {hide_password(url)!r} names no file; allowed: {ALLOWED}", field="serve.store")
    # Like SQLAlchemy's: three slashes begin a relative path, four an absolute one.
    return Path(path[1:])


def _open_redis(url: str, limits: Limits) -> Store:
    try:
        import redis  # noqa: F401  # the extra, asked for here so that its absence has a name
    except ModuleNotFoundError as error:
        raise InvalidConfig(
            f"store {hide_password(url)!r} needs the redis extra: pip install 'darkroom-server[redis]'",
            field="serve.store",
        ) from error
    from .redis import RedisStore

    return RedisStore(url, limits)

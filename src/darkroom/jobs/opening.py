"""Which store a URL means; Redis is asked for only where it is used."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ..errors import InvalidConfig
from .store import Limits, Store

REDIS_SCHEMES = ("redis", "rediss", "unix")
ALLOWED = "sqlite:///PATH, redis://HOST:PORT/DB, rediss://… or unix://PATH"


def open_store(url: str, limits: Limits | None = None) -> Store:
    """The store at `url`, made where it is not there yet.

    Raises `InvalidConfig` for a URL of no store, `StoreUnavailable` where it cannot be opened, `StoreCorrupt` where it
    is damaged.
    """
    limits = limits or Limits()
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return _open_sqlite(url, limits)
    if scheme in REDIS_SCHEMES:
        return _open_redis(url, limits)
    raise InvalidConfig(
        f"store {hide_password(url)!r} is not a store that Darkroom knows; allowed: {ALLOWED}", field="serve.store"
    )


def hide_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url


def _open_sqlite(url: str, limits: Limits) -> Store:
    from .sqlite import SqliteStore

    path = url.removeprefix("sqlite://")
    if not url.startswith("sqlite:///") or path in {"/", "/:memory:"} or path.endswith("/"):
        raise InvalidConfig(f"store {hide_password(url)!r} names no file; allowed: {ALLOWED}", field="serve.store")
    # Like SQLAlchemy's: three slashes begin a relative path, four an absolute one.
    return SqliteStore(Path(path[1:]), limits)


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

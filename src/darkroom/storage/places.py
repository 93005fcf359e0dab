"""Where artifacts are kept, as `storage` in the settings names it: a folder's path, or an object store's URL."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from ..errors import InvalidConfig, StorageUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig  # not there when the program runs

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: one is a drive
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")
PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*")
SHAPES = "a folder, file:///FOLDER, s3://BUCKET/PREFIX?endpoint=…&region=…&sign=no, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX"
# What the query may say, in the words of obstore's own settings.
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "s3": {"endpoint": "endpoint", "region": "region"},
    "gs": {"endpoint": "base_url"},
    "az": {"endpoint": "endpoint", "account": "account_name"},
}
CLIENTS: Mapping[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
CONNECT_S = 5.0
RETRIES = 3


@dataclass(frozen=True)
class Place:
    """An opened place: `folder` where it is one here. `name` is for logs and people, and holds no secret."""

    name: str
    bucket: LocalStore | S3Store | GCSStore | AzureStore
    folder: Path | None = None
    can_sign: bool = False


def place_of(url: str, timeout_s: float) -> Place:
    """The place that `url` names, not yet reached; raises `InvalidConfig`, or `StorageUnavailable` for a folder.

    `timeout_s` bounds the silence of an object store, and the time in which a request is tried again.
    """
    scheme = SCHEME.match(url)
    if not url.strip():
        raise _invalid("it is empty")
    if scheme is None:
        return _folder(Path(url))
    parts = urlsplit(url)
    if not url[scheme.end() :].startswith("//"):
        raise _invalid(f"'//' is missing after {parts.scheme}:")
    if parts.scheme == "file":
        return _folder(_path_of(parts))
    if parts.scheme == "memory":
        raise _invalid("memory:// would lose every artifact with the process, and other processes could not see them")
    if parts.scheme not in OPTIONS:
        raise _invalid(f"{parts.scheme}:// is not known")
    return _bucket(parts, timeout_s)


def _folder(path: Path) -> Place:
    folder = path.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Place(str(folder), LocalStore(folder), folder=folder)
    except OSError as error:
        said = error.strerror or error
        raise StorageUnavailable(f"artifacts cannot be kept: the folder cannot be made ({said})") from error


def _path_of(parts: SplitResult) -> Path:
    if parts.netloc not in ("", "localhost") or parts.query or not parts.path.strip("/"):
        raise _invalid("a file URL is file:///FOLDER, with three slashes and nothing after the folder")
    return Path(unquote(parts.path))


def _bucket(parts: SplitResult, timeout_s: float) -> Place:
    prefix = parts.path.removeprefix("/").removesuffix("/") + "/" if parts.path.strip("/") else ""
    if "@" in parts.netloc:
        raise _invalid("keys do not belong in the URL; the object store's usual environment variables are read")
    if not BUCKET.fullmatch(parts.netloc) or not PREFIX.fullmatch(prefix):
        raise _invalid("bucket and prefix may have letters, digits, '.', '_' and '-', and begin with a letter or digit")
    said = _options(parts)
    can_sign = said.pop("sign", "yes") == "yes"
    name = f"{parts.scheme}://{parts.netloc}/{prefix}"
    try:
        return Place(name, _client(parts.scheme, parts.netloc, prefix, said, timeout_s), can_sign=can_sign)
    except (BaseError, ValueError) as error:
        raise _invalid(_first_line(error)) from error


def _options(parts: SplitResult) -> dict[str, str]:
    """What the query says; the words of obstore's settings but for `sign`."""
    known = {**OPTIONS[parts.scheme], "sign": "sign"}
    said: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in known or not value or known[key] in said:
            raise _invalid(f"{key!r} in the query is not known, empty or twice there; allowed: {', '.join(known)}")
        said[known[key]] = value
    if said.get("sign", "no") not in ("yes", "no"):
        raise _invalid("sign is yes or no")
    if not urlsplit(_endpoint(said) or "https://").scheme.startswith("http"):
        raise _invalid("endpoint must begin with https:// or http://")
    return said


def _endpoint(said: Mapping[str, str]) -> str:
    return said.get("endpoint") or said.get("base_url") or ""


def _client(scheme: str, bucket: str, prefix: str, said: Mapping[str, str], timeout_s: float) -> Any:
    """obstore's client; what `said` leaves open, credentials above all, it takes from its usual environment."""
    reach: dict[str, Any] = {
        "prefix": prefix or None,
        "client_options": _timeouts(timeout_s, allow_http=_endpoint(said).startswith("http://")),
        "retry_config": {"max_retries": RETRIES, "retry_timeout": datetime.timedelta(seconds=timeout_s)},
    }
    return CLIENTS[scheme](bucket, config=dict(said), **reach)


def _timeouts(timeout_s: float, allow_http: bool) -> ClientConfig:
    silence = datetime.timedelta(seconds=timeout_s)
    return {
        "allow_http": allow_http,
        "connect_timeout": datetime.timedelta(seconds=min(CONNECT_S, timeout_s)),
        "read_timeout": silence,
        # All of a request, a stream to a slow client among them: silence is what shows a dead server.
        "timeout": silence * 20,
    }


def _first_line(error: Exception) -> str:
    """obstore's message without the dump of its insides that follows."""
    return str(error).split("\n", 1)[0].strip()


def _invalid(why: str) -> InvalidConfig:
    return InvalidConfig(f"storage: {why}; allowed: {SHAPES}", field="storage")

"""The storage: bytes of artifacts under keys of ours, in a folder or an object store (docs/architecture/05-storage.md).

    put -> whole and durable, or nothing          get, stream, size -> the bytes, or NotFound
    delete -> gone, whether or not it was there   signed_url -> a URL for a stranger, or None: serve it yourself

Storage that cannot be reached, written or read is `StorageUnavailable`; its message is for a stranger, and a note on it
(`__notes__`, which logs show) says where and what the library said. A `Storage` may be used by many threads, but not
across a fork: obstore keeps threads of its own.
"""

from __future__ import annotations

import datetime
import errno
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore

from ..config import gateway_key
from ..errors import InvariantBroken, NotFound, StorageUnavailable
from . import files
from .link import Link, is_gateway_url
from .places import RETRIES, Place, place_of

if TYPE_CHECKING:
    from obstore import GetOptions  # not there when the program runs

KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
KEY_LENGTH = 512
CHUNK = 256 * 1024  # bytes
PROBE = "probe"
# A missing bucket is answered like a missing object; only the text tells them apart (S3, GCS, Azure).
NO_BUCKET = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound")
UNSENT = "connection was not ready"  # what the client says of a request that never left: the connection had just closed
REFUSED = "the object store refuses our credentials: it must let us read, write, list and delete"
FAILED = "the storage cannot be reached or failed: is it up?"
DISK_FULL = "the disk is full: free some space or raise the quota"
NOT_ALLOWED = "this user may not do that there: correct the owner or mode of the storage's folder"
Answer = TypeVar("Answer")
ADVICE: Mapping[int | None, str] = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EFBIG: "it is past the size that files may have here: raise the limit (ulimit -f)",
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.EROFS: "the disk is mounted read-only: mount it for writing",
    errno.EIO: "the disk reports a fault: check it",
}


def key_for_output(job_id: str, fence: int, number: int, suffix: str) -> str:
    """Where output `number` of a job's claim goes; the fence keeps the outputs of two claims apart."""
    return check_key(f"outputs/{job_id}/{fence}-{number}{suffix}")


def prefix_for_outputs(job_id: str) -> str:
    """Under which all outputs of a job lie, those of lost claims as well: for `Storage.list`."""
    return check_key(f"outputs/{job_id}")


def key_for_upload(artifact_id: str, suffix: str) -> str:
    """Where an upload goes."""
    return check_key(f"uploads/{artifact_id}{suffix}")


ADAPTERS = "adapters"  # the prefix of what was registered: nothing there ends with its age


def key_for_adapter(name: str, digest: str) -> str:
    """Where the file of a registered adapter goes; `digest` is its SHA-256."""
    return check_key(f"{ADAPTERS}/{name}/{digest}.safetensors")


def key_for_about(name: str) -> str:
    """Where what is known of a registered adapter goes."""
    return check_key(f"{ADAPTERS}/{name}/about.json")


def open_storage(url: str, *, timeout_s: float = 30.0, key: str | None = None) -> Storage:
    """The storage at a folder's path, `file://`, `s3://bucket/prefix?endpoint=…&region=…`, `gs://…` or `az://…`.

    Nothing is reached yet, but a folder is made. `timeout_s` bounds an object store's silence, and the time in which
    a request is tried again. A gateway's URL is for its workers, who show it the `key` of DARKROOM_API_KEY. Raises
    `InvalidConfig` for a URL that is not allowed.
    """
    if is_gateway_url(url):
        from .http import HttpStorage

        return HttpStorage(Link(url, gateway_key() if key is None else key), timeout_s)
    return Storage(place_of(url, timeout_s))


class Storage:
    """Bytes under keys; made by `open_storage`."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._bucket = place.bucket
        if place.folder is not None:
            with self._telling("written"):
                files.sweep_partial(place.folder, time.time())

    @property
    def name(self) -> str:
        """Where it is, for people: no secret is in it, but only operators should see it."""
        return self._place.name

    @property
    def can_sign(self) -> bool:
        """Whether it gives out URLs of its own."""
        return self._place.can_sign and not isinstance(self._bucket, LocalStore)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data`; whole and durable when it returns, and no reader ever sees a part.

        An object store keeps `content_type` for its signed URLs; a folder does not, for the artifact's row has it.
        """
        check_key(key)
        with self._telling("written"):
            if self._place.folder is not None:
                files.put_durably(self._place.folder, key, data)
            else:
                # In one request: the parts of an upload that broke off would stay, unseen and paid for.
                kind = {"Content-Type": content_type}
                _asked(lambda: obstore.put(self._bucket, key, data, attributes=kind, use_multipart=False))

    def put_new(self, key: str, data: bytes, content_type: str) -> bool:
        """The same, but False and nothing stored where there is something already: of several, one alone comes in."""
        check_key(key)
        with self._telling("written"):
            try:
                if self._place.folder is not None:
                    files.put_durably(self._place.folder, key, data, is_new=True)
                else:
                    kind = {"Content-Type": content_type}
                    put = partial(obstore.put, self._bucket, key, data, attributes=kind, use_multipart=False)
                    _asked(lambda: put(mode="create"))
            except (FileExistsError, AlreadyExistsError):
                return False
        return True

    def get(self, key: str) -> bytes:
        """All the bytes; raises `NotFound`."""
        check_key(key)
        with self._telling("read", key):
            return _asked(lambda: bytes(obstore.get(self._bucket, key).bytes()))

    def stream(self, key: str, chunk: int = CHUNK, only: range | None = None) -> Iterator[bytes]:
        """The bytes, or `only` those places, in parts of `chunk` or more; `NotFound` comes at once, not at the first.

        `only` is within the object, and not empty.
        """
        check_key(key)
        options: GetOptions = {} if only is None else {"range": (only.start, only.stop)}
        with self._telling("read", key):
            parts = _asked(lambda: obstore.get(self._bucket, key, options=options)).stream(min_chunk_size=chunk)
        return self._parts(parts)

    def size(self, key: str) -> int:
        """Bytes; raises `NotFound`."""
        check_key(key)
        with self._telling("read", key):
            return _asked(lambda: obstore.head(self._bucket, key))["size"]

    def delete(self, keys: Sequence[str]) -> None:
        """Remove them; what is not there is removed already."""
        for key in keys:
            check_key(key)
        with self._telling("deleted"):
            if self._place.folder is not None:
                for key in keys:
                    files.remove(self._place.folder, key)
            elif keys:
                self._delete_from_bucket(keys)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys below `prefix`, which ends where a part of a key ends; in no order, and only keys such as ours."""
        yield from (entry["path"] for entry in self._entries(prefix))

    def older(self, prefix: str, before: float) -> Iterator[str]:
        """Those of them that were last written before that time, in seconds since the epoch."""
        for entry in self._entries(prefix):
            if entry["last_modified"].timestamp() < before:
                yield entry["path"]

    def _entries(self, prefix: str) -> Iterator[obstore.ObjectMeta]:
        pages = obstore.list(self._bucket, check_key(prefix) if prefix else None)
        while True:
            with self._telling("listed"):
                page = next(pages, None)
            if page is None:
                return
            yield from (entry for entry in page if KEY.fullmatch(entry["path"]))

    def signed_url(self, key: str, expires_s: float) -> str | None:
        """A URL that whoever holds it may GET for `expires_s` seconds; None where the storage does not sign."""
        check_key(key)
        if isinstance(self._bucket, LocalStore) or not self.can_sign:
            return None
        with self._telling("signed"):
            return obstore.sign(self._bucket, "GET", key, datetime.timedelta(seconds=expires_s))

    def check(self) -> None:
        """Write, read and remove a few bytes; raises `StorageUnavailable`."""
        key, data = f"{PROBE}/{uuid.uuid4().hex}", uuid.uuid4().bytes
        self.put(key, data, "application/octet-stream")
        try:
            found = self.get(key)
        except NotFound as error:
            raise self._unavailable("read", "what was just written is not there") from error
        finally:
            self.delete([key])
        if found != data:
            raise self._unavailable("read", "other bytes came back than were written")

    def _parts(self, parts: obstore.BytesStream) -> Iterator[bytes]:
        while True:
            with self._telling("read"):
                part = next(parts, None)
            if part is None:
                return
            yield bytes(part)

    def _delete_from_bucket(self, keys: Sequence[str]) -> None:
        try:
            obstore.delete(self._bucket, keys)
        except FileNotFoundError as error:
            if self._is_place_missing(error):
                raise
            # GCS and Azure stop at the first that is missing, and one alone is gone then.
            if len(keys) > 1:
                for key in keys:
                    self._delete_from_bucket([key])

    @contextmanager
    def _telling(self, done: str, key: str | None = None) -> Iterator[None]:
        """Turn what obstore and the system raise into our errors; `done`: what cannot be done to artifacts."""
        try:
            yield
        except FileNotFoundError as error:
            if key is not None and not self._is_place_missing(error):
                raise NotFound("the bytes of this artifact are not stored, or no longer") from error
            raise self._unavailable(done, "the bucket or folder is not there: make it, or correct `storage`") from error
        except BaseError as error:
            raise self._unavailable(done, REFUSED if _is_refused(error) else FAILED) from error
        except OSError as error:
            raise self._unavailable(done, ADVICE.get(error.errno, error.strerror or str(error))) from error

    def _is_place_missing(self, error: FileNotFoundError) -> bool:
        if self._place.folder is not None:
            return not self._place.folder.is_dir()
        return any(text in str(error) for text in NO_BUCKET)

    def _unavailable(self, done: str, why: str) -> StorageUnavailable:
        error = StorageUnavailable(f"artifacts cannot be {done}: {why}")
        error.add_note(f"storage: {self.name}")
        return error


def _is_refused(error: BaseError) -> bool:
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return True
    return any(text in str(error) for text in ("status code: 401", "status code: 403"))  # as `list` says it


def check_key(key: str) -> str:
    """The key, which is one of ours: no part of it can name a folder above or a hidden file."""
    if len(key) > KEY_LENGTH or not KEY.fullmatch(key):
        raise InvariantBroken(f"{key!r} is no key of the storage")
    return key


def _asked(ask: Callable[[], Answer]) -> Answer:
    """The answer; asked again where the request never left, which the client does not do by itself."""
    for _ in range(RETRIES):
        try:
            return ask()
        except BaseError as error:
            if UNSENT not in str(error):
                raise
    return ask()

"""Pictures in a request: an upload's id, a data URL or an https URL; from a form, the bytes themselves.

Each is checked before the job is accepted, and its bytes are stored before the answer: an accepted job lacks nothing.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..config import ServeSettings
from ..core import GUESTS_TENANTS, Artifact
from ..errors import BadInput, LimitExceeded, NotFound, Unavailable
from ..jobs.ledger import UPLOAD_BYTES
from ..jobs.store import Store
from ..models.adapters import check_lora, looks_like_safetensors, refuse_pickle
from ..models.request import PICTURES
from ..storage.incoming import PictureLimits, Received, decode_data_url, fetch_url, read_transparent, receive
from ..storage.objects import Storage, key_for_upload
from .access import Caller
from .guests import neighbours_of
from .ids import is_id

ADAPTER_FILE = ("application/octet-stream", ".safetensors")
MIB = 1024 * 1024
URL_LENGTH = 4096
GUESTS_UPLOADS = 64 * MIB  # of one address
LARGEST_SHARE = 0.25  # of `keep_gb`: the uploads of one tenant must not push out the pictures of all others
FULL_RETRY_S = 60.0  # room comes with what is deleted, and with time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """A picture at the door; `size` is [width, height] in pixels, as the door asks of any picture.

    `artifact_id` None: it came with the request, and is stored once the request has been accepted.
    """

    size: tuple[int, int]
    artifact_id: str | None = None
    received: Received | None = None


class Pictures:
    """Takes pictures in; blocks, so call it where that may be."""

    def __init__(self, store: Store, storage: Storage, serve: ServeSettings) -> None:
        self._store, self._storage = store, storage
        self._limits = PictureLimits(int(serve.max_upload_mb * MIB), serve.max_pixels)
        self._allow_private = serve.allow_private_urls
        self._most_bytes = most_uploaded(serve)

    def take_all(self, inputs: Mapping[str, Any], caller: Caller) -> dict[str, Given]:
        """The pictures among a request's inputs; raises `BadInput`, `UnreadableImage` or `TooLarge` with the field."""
        given = {name: inputs[name] for name in PICTURES if inputs.get(name) is not None}
        return {name: self._take(said, name, caller) for name, said in given.items()}

    def must_fetch(self, inputs: Mapping[str, Any]) -> bool:
        """Whether one of them lies elsewhere."""
        given = (inputs.get(name) for name in PICTURES)
        return any(isinstance(said, str) and not said.startswith("data:") and not is_id(said) for said in given)

    def receive(self, data: bytes, caller: Caller, now: float) -> Artifact:
        """Store an upload, a picture or an operator's adapter.

        Raises `UnreadableImage` or `TooLarge`, for other weights `BadInput` or one of its kind, `Forbidden`, and
        `LimitExceeded` where the tenant has no room.
        """
        if looks_like_safetensors(data):
            caller.check_operator()
            check_lora(data)
            return self._keep(Received(data, *ADAPTER_FILE, None, None), caller, now)
        refuse_pickle(data)
        return self._keep(receive(data, "body", self._limits), caller, now)

    def adapter_file(self, artifact_id: str, caller: Caller) -> bytes:
        """The bytes of an adapter that was uploaded; raises `BadInput`."""
        artifact = self._store.artifact(artifact_id) if is_id(artifact_id) else None
        if artifact is None or not caller.owns(artifact.tenant):
            said = f"there is no artifact {artifact_id[:64]!r}; POST /v1/uploads makes one"
            raise BadInput(f"artifact_id: {said}", field="artifact_id")
        if not artifact.key.endswith(ADAPTER_FILE[1]):
            said = f"artifact {artifact_id!r} is no adapter: upload its safetensors file"
            raise BadInput(f"artifact_id: {said}", field="artifact_id")
        return self._bytes_of(artifact, "artifact_id")

    def keep_all(self, pictures: Mapping[str, Given], caller: Caller, now: float) -> dict[str, str]:
        """Artifact ids by field name; what came with the request is stored now, all of it or nothing."""
        kept: dict[str, str] = {}
        try:
            for name, picture in pictures.items():
                kept[name] = self._id_of(picture, caller, now)
        except BaseException:
            self.forget([kept[name] for name in kept if pictures[name].artifact_id is None])
            raise
        return kept

    def forget(self, artifact_ids: Sequence[str]) -> None:
        """Remove what was stored for a job that did not come to be; what cannot be removed now goes with its age."""
        try:
            gone = [self._store.delete_artifact(artifact_id) for artifact_id in artifact_ids]
            self._storage.delete([artifact.key for artifact in gone if artifact is not None])
        except Unavailable as error:
            log.warning("pictures of a refused job stay for now: %s", error)

    def transparent(self, data: bytes, field: str) -> bytes | None:
        """A mask as PNG, white where the picture is wholly transparent; None where it nowhere is.

        Raises `UnreadableImage` or `TooLarge` with the field.
        """
        return read_transparent(data, self._limits, field)

    def _take(self, said: Any, field: str, caller: Caller) -> Given:
        if isinstance(said, bytes):
            return _fresh(receive(said, field, self._limits))
        if not isinstance(said, str):
            raise BadInput(f"{field} must be an artifact's id, a data URL or an https URL, as text", field=field)
        if said.startswith("data:"):
            return _fresh(decode_data_url(said, field, self._limits))
        if is_id(said):
            return self._uploaded(said, field, caller)
        if len(said) > URL_LENGTH:
            raise BadInput(f"{field}: a URL has at most {URL_LENGTH} characters", field=field)
        return _fresh(fetch_url(said, field, self._limits, self._allow_private))

    def _uploaded(self, artifact_id: str, field: str, caller: Caller) -> Given:
        artifact = self._store.artifact(artifact_id)
        if artifact is None or not caller.owns(artifact.tenant):
            raise BadInput(f"{field}: there is no artifact {artifact_id!r}; POST /v1/uploads makes one", field=field)
        if artifact.width is None or artifact.height is None:
            raise BadInput(f"{field}: artifact {artifact_id!r} is no picture", field=field)
        size = (artifact.width, artifact.height)
        if artifact.job_id is None:
            return Given(size, artifact_id=artifact_id)
        # A job's output goes when that job does, and this job may live longer: it gets an upload of its own.
        return Given(size, received=self._read(artifact, field, size))

    def _read(self, artifact: Artifact, field: str, size: tuple[int, int]) -> Received:
        data = self._bytes_of(artifact, field)
        return Received(data, artifact.content_type, PurePosixPath(artifact.key).suffix, *size)

    def _bytes_of(self, artifact: Artifact, field: str) -> bytes:
        try:
            return self._storage.get(artifact.key)
        except NotFound as error:
            said = f"{field}: the bytes of artifact {artifact.id!r} are no longer stored"
            raise BadInput(said, field=field) from error

    def _id_of(self, picture: Given, caller: Caller, now: float) -> str:
        if picture.artifact_id is not None:
            return picture.artifact_id
        assert picture.received is not None
        return self._keep(picture.received, caller, now).id

    def _check_room(self, picture: Received, caller: Caller) -> None:
        """Pictures on their way at the same moment do not see each other: a few may come past the bound."""
        size, uploaded, most = max(len(picture.data), UPLOAD_BYTES), self._store.uploaded_bytes, self._most_bytes
        if not caller.guest:
            sums = [("one tenant", uploaded(caller.tenant), most)]
        else:
            house = uploaded(neighbours_of(caller.tenant), is_prefix=True)
            sums = [
                ("the guests of one address", house, min(most, GUESTS_UPLOADS)),
                ("all guests together", uploaded(GUESTS_TENANTS, is_prefix=True), most),
            ]
        for whose, taken, room in sums:
            if taken + size > room:
                said = f"uploads of {whose} may take {room / MIB:g} MiB: delete some, or wait"
                error = LimitExceeded(said, field="uploads")
                error.retry_after_s = FULL_RETRY_S
                raise error

    def _keep(self, picture: Received, caller: Caller, now: float) -> Artifact:
        self._check_room(picture, caller)
        artifact_id = f"art-{secrets.token_hex(12)}"
        artifact = Artifact(
            id=artifact_id,
            tenant=caller.tenant,
            key=key_for_upload(artifact_id, picture.suffix),
            content_type=picture.content_type,
            size=len(picture.data),
            created_at=now,
            width=picture.width,
            height=picture.height,
        )
        self._storage.put(artifact.key, picture.data, artifact.content_type)
        self._store.add_artifact(artifact)  # after its bytes: a row must not promise what is not there
        return artifact


def most_uploaded(serve: ServeSettings) -> float:
    """Bytes that the uploads of one tenant may take."""
    room = math.inf if serve.keep_gb is None else LARGEST_SHARE * serve.keep_gb * 1024 * MIB
    return min(serve.max_uploads_mb_per_tenant * MIB, room)


def _fresh(received: Received) -> Given:
    assert received.width is not None, "it was decoded"
    assert received.height is not None
    return Given((received.width, received.height), received=received)

"""Pictures in a request: an upload's id, a data URL or an https URL; from a form, the bytes themselves.

Each is checked before the job is accepted, and its bytes are stored before the answer: an accepted job lacks nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..config import ServeSettings
from ..core import Artifact
from ..errors import BadInput, NotFound
from ..jobs.store import Store
from ..storage.incoming import PictureLimits, Received, decode_data_url, fetch_url, read_transparent, receive
from ..storage.objects import Storage, key_for_upload
from .access import Caller
from .ids import is_id

FIELDS = ("image", "mask_image")
MIB = 1024 * 1024
URL_LENGTH = 4096


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

    def take_all(self, inputs: Mapping[str, Any], caller: Caller) -> dict[str, Given]:
        """The pictures among a request's inputs; raises `BadInput`, `UnreadableImage` or `TooLarge` with the field."""
        given = {name: inputs[name] for name in FIELDS if inputs.get(name) is not None}
        return {name: self._take(said, name, caller) for name, said in given.items()}

    def must_fetch(self, inputs: Mapping[str, Any]) -> bool:
        """Whether one of them lies elsewhere."""
        given = (inputs.get(name) for name in FIELDS)
        return any(isinstance(said, str) and not said.startswith("data:") and not is_id(said) for said in given)

    def receive(self, data: bytes, caller: Caller, now: float) -> Artifact:
        """Store an upload; raises `UnreadableImage` or `TooLarge`."""
        return self._keep(receive(data, "body", self._limits), caller, now)

    def keep_all(self, pictures: Mapping[str, Given], caller: Caller, now: float) -> dict[str, str]:
        """Artifact ids by field name; what came with the request is stored now."""
        return {name: self._id_of(picture, caller, now) for name, picture in pictures.items()}

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
        try:
            data = self._storage.get(artifact.key)
        except NotFound as error:
            raise BadInput(
                f"{field}: the bytes of artifact {artifact.id!r} are no longer stored", field=field
            ) from error
        return Received(data, artifact.content_type, PurePosixPath(artifact.key).suffix, *size)

    def _id_of(self, picture: Given, caller: Caller, now: float) -> str:
        if picture.artifact_id is not None:
            return picture.artifact_id
        assert picture.received is not None
        return self._keep(picture.received, caller, now).id

    def _keep(self, picture: Received, caller: Caller, now: float) -> Artifact:
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


def _fresh(received: Received) -> Given:
    return Given((received.width, received.height), received=received)

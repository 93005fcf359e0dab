"""Bytes out: to their owner, to operators, and to whoever holds a signed URL."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse

from ...core import Artifact
from ...errors import Forbidden, NotFound, StorageUnavailable, StoreUnavailable, Unauthorised
from ..access import NOBODY
from ..ids import check_id
from ..parts import Here, Visit, visit_by, visit_of
from ..ranges import headers_of, part_of
from ..refusals import refusals
from ..threads import each_of
from ..worker_keys import SUFFIXES

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])
FOREVER = "private, max-age=31536000, immutable"  # an id's bytes never change
BYTES = {"schema": {"type": "string", "format": "binary"}}


async def known_or_signed(connection: HTTPConnection) -> Visit:
    """Who asks; a URL that is signed needs nobody."""
    try:
        return await visit_of(connection)
    except (Unauthorised, Forbidden):
        if "signature" not in connection.query_params:
            raise
        return visit_by(NOBODY, connection)


KnownOrSigned = Annotated[Visit, Depends(known_or_signed)]


@router.get(
    "/{artifact_id}",
    response_class=Response,
    responses={
        **refusals(NotFound, StoreUnavailable, StorageUnavailable),
        200: {"content": dict.fromkeys(sorted(SUFFIXES), BYTES), "description": "bytes"},
        206: {"description": "the part that was asked for"},
        304: {"description": "You have them already."},
        416: {"description": "There is no such part."},
    },
)
async def show(
    here: KnownOrSigned,
    artifact_id: str,
    expires: Annotated[str | None, Query(description="of a signed URL")] = None,
    signature: Annotated[str | None, Query(description="of a signed URL")] = None,
    if_none_match: Annotated[str | None, Header()] = None,
    asked: Annotated[str | None, Header(alias="Range", description="one part: bytes=FIRST-LAST")] = None,
) -> Response:
    """The bytes of an artifact."""
    artifact = await _find(here, artifact_id, (expires, signature))
    headers = _headers(artifact)
    if if_none_match is not None and headers["ETag"] in if_none_match.replace("W/", "").split(", "):
        return Response(status_code=304, headers=headers)
    threads, storage = here.gateway.threads, here.gateway.storage
    part = part_of(asked, artifact.size)
    if part is not None and not part:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{artifact.size}"})
    parts = await threads.files(storage.stream, artifact.key, only=part)
    headers |= headers_of(part, artifact.size) if part else {"Content-Length": str(artifact.size)}
    return StreamingResponse(each_of(threads, parts), 206 if part else 200, headers, artifact.content_type)


@router.delete("/{artifact_id}", status_code=204, responses=refusals(NotFound, StoreUnavailable, StorageUnavailable))
async def remove(here: Here, artifact_id: str) -> Response:
    """Remove an artifact. A job that still needs it will fail."""
    artifact = await _find(here, artifact_id, None)
    gateway = here.gateway
    await gateway.threads.files(gateway.storage.delete, [artifact.key])  # a row without bytes can be removed again
    await gateway.threads.store(gateway.store.delete_artifact, artifact_id)
    return Response(status_code=204)


async def _find(here: Visit, artifact_id: str, signed: tuple[str | None, str | None] | None) -> Artifact:
    """The artifact, where the caller may have it: as its owner, or by a signature where one will do."""
    gateway = here.gateway
    artifact = await gateway.threads.store(gateway.store.artifact, check_id(artifact_id, "artifact"))
    is_own = artifact is not None and here.caller.owns(artifact.tenant)
    if not is_own and signed is not None and signed[0] is not None and signed[1] is not None:
        gateway.signer.check(artifact_id, signed[0], signed[1], gateway.clock())
        is_own = True
    if artifact is None or not is_own:
        raise NotFound(f"there is no artifact {artifact_id!r}", field="artifact_id")
    return artifact


def _headers(artifact: Artifact) -> dict[str, str]:
    suffix = artifact.key.rpartition(".")[2]
    return {
        "ETag": f'"{artifact.id}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": FOREVER,
        "Content-Disposition": f'inline; filename="{artifact.id}.{suffix}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",  # whatever the bytes are, they run nothing here
        "Cross-Origin-Resource-Policy": "cross-origin",  # pages that hold the signed URL may show it
    }

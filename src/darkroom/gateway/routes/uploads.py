"""Pictures in, for jobs to come."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...errors import BadInput, LimitExceeded, StorageUnavailable, StoreUnavailable, UnreadableImage
from .. import answers, schemas
from ..parts import Here
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
BYTES = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "",
    status_code=201,
    response_model=schemas.UploadAnswer,
    responses=refusals(BadInput, UnreadableImage, LimitExceeded, StoreUnavailable, StorageUnavailable),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The bytes of a PNG, JPEG or WebP picture as they are; the content type is told from them.",
            "content": {
                "image/png": BYTES,
                "image/jpeg": BYTES,
                "image/webp": BYTES,
                "application/octet-stream": BYTES,
            },
        }
    },
)
async def create(here: Here, request: Request) -> Response:
    """Store a picture; its `artifact_id` can stand for `image` or `mask_image` in a job's input."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise BadInput("send the picture's bytes as the body (curl --data-binary @FILE), not a form", field="body")
    data = await request.body()
    if not data:
        raise BadInput("the body is empty: send the picture's bytes", field="body")
    gateway = here.gateway
    artifact = await gateway.threads.files(gateway.pictures.receive, data, here.caller, gateway.clock())
    return Answer(answers.upload(artifact), 201)

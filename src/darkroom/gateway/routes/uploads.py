"""Files in: pictures for jobs to come, and adapters to register."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from ...errors import (
    BadInput,
    LimitExceeded,
    NotSupported,
    StorageUnavailable,
    StoreUnavailable,
    UnreadableImage,
    UnsafeWeights,
)
from .. import answers, schemas
from ..parts import Here
from ..refusals import Answer, refusals

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])
BYTES = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "",
    status_code=201,
    response_model=schemas.UploadAnswer,
    responses=refusals(
        *(BadInput, UnreadableImage, UnsafeWeights, NotSupported, LimitExceeded, StoreUnavailable, StorageUnavailable)
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The bytes of a PNG, JPEG or WebP picture as they are, or for operators those of a LoRA as "
            "safetensors; which it is is told from them.",
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
    """Store a picture; its `artifact_id` can stand for `image`, `mask_image` or `control_image` in a job's input. Or
    store an adapter, for `POST /v1/adapters`."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise BadInput("send the file's bytes as the body (curl --data-binary @FILE), not a form", field="body")
    data = await request.body()
    if not data:
        raise BadInput("the body is empty: send the file's bytes", field="body")
    gateway = here.gateway
    artifact = await gateway.threads.files(gateway.pictures.receive, data, here.caller, gateway.clock())
    return Answer(answers.upload(artifact), 201)

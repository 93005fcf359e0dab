"""What a job may be asked for, by keyword, and the body that asks for it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from ..errors import BadInput

if TYPE_CHECKING:
    from PIL.Image import Image

# A path is a file to upload, bytes are its content. In a job's input a str stands for itself: the id of an upload, a
# data URL or an https URL.
Picture: TypeAlias = "PathLike[str] | bytes | Image"
LoraFile: TypeAlias = "str | PathLike[str] | bytes"  # a path, or its content

ABOUT_THE_JOB = ("model", "task", "priority", "deadline_s", "run_at", "output", "metadata", "webhook")
PICTURES = ("image", "mask_image", "control_image", "ip_adapter_image")
NAMES = {"request_id": "X-Request-Id", "traceparent": "traceparent"}  # sent as headers
KEY = re.compile(r"[\x21-\x7e]{1,255}")


class Wish(TypedDict, total=False):
    """Keywords of `submit` and `generate`. Names and bounds are those of `POST /v1/jobs` in docs/reference/http.md.

    The first group is about the job; all else is its `input`, in which further names of a model's own may stand.
    """

    model: str | None
    task: str | None
    priority: int
    deadline_s: float | None
    run_at: datetime | float | str | None
    output: Mapping[str, Any]
    metadata: Mapping[str, Any]
    webhook: str | Mapping[str, Any] | None
    idempotency_key: str | None
    request_id: str | None
    traceparent: str | None

    negative_prompt: str
    prompt_style: str
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int
    num_images_per_prompt: int
    strength: float
    image: str | Picture
    mask_image: str | Picture
    control_image: str | Picture
    controlnet_conditioning_scale: float
    ip_adapter_image: str | Picture
    ip_adapter_scale: float
    outpaint: Mapping[str, int]
    denoising_end: float
    num_frames: int
    frame_rate: float
    audio_end_in_s: float
    seed: int
    preset: str
    solver: str
    adapters: Mapping[str, float]
    adapter_digests: Mapping[str, str]
    reproducible: bool


@dataclass(frozen=True)
class Order:
    """A wish as it will be sent: always under a key, so that it can be sent again; `pictures` are uploaded first."""

    body: Mapping[str, Any]
    key: str
    pictures: Mapping[str, Picture]
    names: Mapping[str, str]

    @property
    def headers(self) -> Mapping[str, str]:
        """The key, and by which names the request is known elsewhere."""
        return {"Idempotency-Key": self.key, **self.names}

    def with_uploads(self, ids: Mapping[str, str]) -> Mapping[str, Any]:
        """The body with the ids of the pictures in their places."""
        return {**self.body, "input": {**self.body["input"], **ids}}


def order_of(prompt: str, wish: Mapping[str, Any]) -> Order:
    """The order for a wish; what is None is left out. Raises `BadInput`."""
    said = {name: value for name, value in wish.items() if value is not None}
    key = check_key(said.pop("idempotency_key", None) or secrets.token_hex(16))
    names = {header: said.pop(name) for name, header in NAMES.items() if name in said}
    about = {name: said.pop(name) for name in ABOUT_THE_JOB if name in said}
    if isinstance(about.get("run_at"), datetime):
        about["run_at"] = _moment(about["run_at"])
    pictures = {name: said.pop(name) for name in PICTURES if name in said and not isinstance(said[name], str)}
    return Order({**about, "input": {"prompt": prompt, **said}}, key, pictures, names)


def bytes_of(picture: Picture, field: str = "image") -> bytes:
    """What to upload: a file's content or the bytes as they are, a PIL image as PNG. Raises `BadInput` with `field`."""
    if isinstance(picture, bytes):
        return picture
    if hasattr(picture, "save"):
        from io import BytesIO

        buffer = BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()
    try:
        return Path(picture).read_bytes()
    except TypeError:
        raise BadInput(
            f"a picture is a path, bytes or a PIL image, not {type(picture).__name__}", field=field
        ) from None
    except OSError as error:
        raise BadInput(f"{picture} cannot be read: {error.strerror}", field=field) from error


def file_bytes(file: LoraFile) -> bytes:
    """A file's content, or the bytes as they are. Raises `BadInput`."""
    try:
        return file if isinstance(file, bytes) else Path(file).read_bytes()
    except TypeError:
        raise BadInput(f"a file is a path or bytes, not {type(file).__name__}", field="file") from None
    except OSError as error:
        raise BadInput(f"{file!r} cannot be read: {error.strerror}", field="file") from error


def check_key(key: str) -> str:
    """The idempotency key; raises `BadInput` unless a header can carry it."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise BadInput("idempotency_key must have 1 to 255 visible ASCII characters", field="idempotency_key")
    return key


def _moment(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise BadInput("run_at needs its time zone, such as datetime.now(UTC)", field="run_at")
    return moment.isoformat()

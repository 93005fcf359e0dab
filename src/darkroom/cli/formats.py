"""The format of what a service writes: what the file's name says, or what was asked for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from ..errors import BadInput


class PictureFormat(StrEnum):
    """What a service writes."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    MP4 = "mp4"
    WAV = "wav"


SUFFIXES = {
    ".png": PictureFormat.PNG,
    ".jpg": PictureFormat.JPEG,
    ".jpeg": PictureFormat.JPEG,
    ".webp": PictureFormat.WEBP,
    ".mp4": PictureFormat.MP4,
    ".wav": PictureFormat.WAV,
}


def format_of(output: Path | None, asked: PictureFormat | None) -> str | None:
    """The format to ask the service for, None for its own; raises `BadInput` where the file's name says another."""
    if output is None:
        return asked
    said = SUFFIXES.get(output.suffix.lower())
    if said is None:
        raise BadInput(f"output must end in {', '.join(SUFFIXES)}, not {output.name!r}", field="output")
    if asked is not None and asked != said:
        raise BadInput(f"{output.name!r} is a name for {said}, and --format is {asked}", field="--format")
    return said

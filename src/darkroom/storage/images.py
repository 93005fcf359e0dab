"""Pictures in and out. A picture of ours carries the settings that made it, so that it can be made again.

A PNG has two text chunks: `darkroom`, JSON, which is read back; and `parameters`, the line that other programs read.
JPEG and WebP have the JSON as XMP (see `encoding` for the rest). The bytes follow from pixels and settings alone: no
time of writing.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..errors import BadInput, UnreadableImage

CHUNK = "darkroom"
PARAMETERS = "parameters"
NAMESPACE = "urn:darkroom:settings"  # of our one XMP property
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:darkroom="{NAMESPACE}">'
    "<darkroom:settings>%s</darkroom:settings></rdf:Description></rdf:RDF></x:xmpmeta>"
)
XMP_SETTINGS = re.compile(rb"<darkroom:settings>([^<]*)</darkroom:settings>")
# Names that other programs know our solvers by.
SAMPLERS = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "euler": "Euler",
    "euler-a": "Euler a",
    "dpm++2m": "DPM++ 2M",
    "dpm++2m-karras": "DPM++ 2M Karras",
    "unipc": "UniPC",
    "lcm": "LCM",
    "pndm": "PLMS",
    "heun": "Heun",
}
# Runs and a Huffman code alone: on pictures such as these as small as a search for repeats, in half the time.
PNG_OPTIONS: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
READING_FAULTS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def encode_png(image: Image.Image, settings: Mapping[str, Any]) -> bytes:
    """The picture as PNG with its settings inside; the same picture and settings give the same bytes."""
    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, json.dumps(settings, sort_keys=True))
    info.add_text(PARAMETERS, parameters_of(settings))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, **PNG_OPTIONS)
    return buffer.getvalue()


def xmp_of(settings: Mapping[str, Any]) -> bytes:
    """The settings as an XMP packet (ISO 16684-1); ASCII alone, so that no character can break the XML."""
    return (XMP % html.escape(json.dumps(settings, sort_keys=True), quote=False)).encode("ascii")


def parameters_of(settings: Mapping[str, Any]) -> str:
    """The settings in the form that AUTOMATIC1111's web UI began and many programs read."""
    asked = settings["input"]
    solver = asked.get("solver")
    facts: dict[str, Any] = {
        "Steps": asked.get("num_inference_steps"),
        "Sampler": SAMPLERS.get(solver, solver) if solver else settings.get("scheduler"),
        "CFG scale": asked.get("guidance_scale"),
        "Seed": asked.get("seed"),
        "Size": f"{asked['width']}x{asked['height']}" if "width" in asked and "height" in asked else None,
        "Model hash": str(settings["revision"])[:10],
        "Model": settings["model"],
        "Denoising strength": asked.get("strength"),
        "Version": f"darkroom {settings['versions']['darkroom']}",
    }
    line = ", ".join(f"{name}: {value}" for name, value in facts.items() if value is not None)
    negative = asked.get("negative_prompt")
    return "\n".join([asked.get("prompt") or "", *([f"Negative prompt: {negative}"] if negative else []), line])


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a file of ours carries; raises `UnreadableImage`, or `BadInput` where it carries none."""
    text = _carried_by(path)
    if text is None:
        raise BadInput(f"{path} carries no settings of Darkroom's: only what it made itself does", field="like")
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise UnreadableImage(f"{path}: its settings are damaged: {error}", field="like") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("input"), dict):
        raise UnreadableImage(f"{path}: its settings are damaged: there is no input", field="like")
    return settings


def read_picture(path: Path, field: str, mode: str = "RGB") -> Image.Image:
    """A picture as a person sees it (turned as its camera says), in `mode`; raises `UnreadableImage`."""
    return eight_bits(ImageOps.exif_transpose(_open(path, field))).convert(mode)


def eight_bits(image: Image.Image) -> Image.Image:
    """The same picture where it has at most 8 bits a channel, else its upper 8: Pillow's own way is to cut off."""
    if not image.mode.startswith("I"):
        return image
    wide = image.convert("I")
    wide.info = {}  # a transparent value is one of 16 bits
    return wide.point(lambda value: value * (1 / 256)).convert("L")


def digest(image: Image.Image) -> str:
    """SHA-256 over mode, size and pixels: whether two pictures are the same, however they were stored."""
    head = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _carried_by(path: Path) -> str | None:
    from . import sounds, videos  # which stand above this file

    readers = {".mp4": videos.carried, ".wav": sounds.carried}
    if path.suffix.lower() in readers:
        return readers[path.suffix.lower()](path)
    return _carried(_open(path, "like"))


def _carried(image: Image.Image) -> str | None:
    """The JSON inside, from the text chunk of a PNG or the XMP of the others."""
    if CHUNK in getattr(image, "text", {}):
        return str(image.text[CHUNK])  # type: ignore[attr-defined]  # only PNG files have it
    packet = image.info.get("xmp", b"")
    found = XMP_SETTINGS.search(packet) if isinstance(packet, bytes) else None
    return html.unescape(found[1].decode("utf-8", "replace")) if found else None


def _open(path: Path, field: str) -> Image.Image:
    """The picture with all its pixels and texts read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(path.read_bytes()))
            image.load()
            return image
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{path} is no picture that can be read", field=field) from error
    except READING_FAULTS as error:
        said = getattr(error, "strerror", None) or error
        raise UnreadableImage(f"{path} cannot be read as a picture: {said}", field=field) from error

"""Pictures in and out. A PNG carries the settings that made it, so that it can be made again.

Two text chunks: `darkroom`, JSON, which is read back; and `parameters`, the line that other programs read. The bytes
follow from pixels and settings alone: no time of writing.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..errors import BadInput, UnreadableImage

CHUNK = "darkroom"
PARAMETERS = "parameters"
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
READING_FAULTS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def encode_png(image: Image.Image, settings: Mapping[str, Any]) -> bytes:
    """The picture as PNG with its settings inside; the same picture and settings give the same bytes."""
    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, json.dumps(settings, sort_keys=True))
    info.add_text(PARAMETERS, parameters_of(settings))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, compress_level=6)
    return buffer.getvalue()


def parameters_of(settings: Mapping[str, Any]) -> str:
    """The settings in the form that AUTOMATIC1111's web UI began and many programs read."""
    asked = settings["input"]
    solver = asked.get("solver")
    facts = {
        "Steps": asked["num_inference_steps"],
        "Sampler": SAMPLERS.get(solver, solver) if solver else settings.get("scheduler"),
        "CFG scale": asked.get("guidance_scale"),
        "Seed": asked["seed"],
        "Size": f"{asked['width']}x{asked['height']}",
        "Model hash": str(settings["revision"])[:10],
        "Model": settings["model"],
        "Denoising strength": asked.get("strength"),
        "Version": f"darkroom {settings['versions']['darkroom']}",
    }
    line = ", ".join(f"{name}: {value}" for name, value in facts.items() if value is not None)
    negative = asked.get("negative_prompt")
    return "\n".join([asked["prompt"], *([f"Negative prompt: {negative}"] if negative else []), line])


def read_settings(path: Path) -> dict[str, Any]:
    """The settings a PNG of ours carries; raises `UnreadableImage`, or `BadInput` where it carries none."""
    text = getattr(_open(path, "like"), "text", {})
    if CHUNK not in text:
        raise BadInput(f"{path} carries no settings of Darkroom's: only its own PNG files do", field="like")
    try:
        settings = json.loads(text[CHUNK])
    except ValueError as error:
        raise UnreadableImage(f"{path}: its settings are damaged: {error}", field="like") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("input"), dict):
        raise UnreadableImage(f"{path}: its settings are damaged: there is no input", field="like")
    return settings


def read_picture(path: Path, field: str, mode: str = "RGB") -> Image.Image:
    """A picture as a person sees it (turned as its camera says), in `mode`; raises `UnreadableImage`."""
    return ImageOps.exif_transpose(_open(path, field)).convert(mode)


def digest(image: Image.Image) -> str:
    """SHA-256 over mode, size and pixels: whether two pictures are the same, however they were stored."""
    head = f"{image.mode} {image.width}x{image.height}\n".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


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

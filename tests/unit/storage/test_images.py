"""Pictures carry their settings; the bytes follow from pixels and settings alone."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from darkroom.errors import BadInput, UnreadableImage
from darkroom.storage import images

SETTINGS: dict[str, Any] = {
    "model": "landscapes",
    "revision": "0123456789abcdef" * 4,
    "scheduler": "DDIMScheduler",
    "versions": {"darkroom": "0.1.0"},
    "input": {
        "prompt": "a red fox, größer, 狐",
        "negative_prompt": "rain",
        "num_inference_steps": 20,
        "guidance_scale": 5.0,
        "width": 8,
        "height": 4,
        "seed": 7,
        "solver": "dpm++2m-karras",
    },
}
PICTURE = Image.linear_gradient("L").resize((8, 4)).convert("RGB")


def chunks(content: bytes) -> list[bytes]:
    kinds, place = [], 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        kinds.append(content[place + 4 : place + 8])
        place += 12 + length
    return kinds


def test_settings_and_pixels_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(images.encode_png(PICTURE, SETTINGS))
    assert images.read_settings(path) == SETTINGS
    assert images.read_picture(path, "image").tobytes() == PICTURE.tobytes()


def test_the_same_picture_gives_the_same_bytes_at_any_time() -> None:
    first = images.encode_png(PICTURE, SETTINGS)
    time.sleep(1.1)  # a time of writing would be in seconds
    assert images.encode_png(PICTURE, dict(reversed(SETTINGS.items()))) == first
    assert not {b"tIME", b"eXIf"} & set(chunks(first))


def test_the_parameters_are_those_that_other_programs_read() -> None:
    assert images.parameters_of(SETTINGS).splitlines() == [
        "a red fox, größer, 狐",
        "Negative prompt: rain",
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 5.0, Seed: 7, Size: 8x4, Model hash: 0123456789, "
        "Model: landscapes, Version: darkroom 0.1.0",
    ]


def test_what_was_not_asked_is_not_in_the_parameters() -> None:
    asked = {"prompt": "p", "num_inference_steps": 4, "seed": 1, "width": 8, "height": 8}
    text = images.parameters_of({**SETTINGS, "input": asked})
    assert "Negative" not in text
    assert "CFG" not in text
    assert "Sampler: DDIMScheduler" in text


def test_a_pipeline_that_takes_neither_prompt_nor_seed_has_parameters_too() -> None:
    text = images.parameters_of({**SETTINGS, "input": {"strength": 0.5}})
    assert text == (
        "\nSampler: DDIMScheduler, Model hash: 0123456789, Model: landscapes, Denoising strength: 0.5, "
        "Version: darkroom 0.1.0"
    )


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_any_prompt_survives(tmp_path_factory: pytest.TempPathFactory, prompt: str) -> None:
    settings = {**SETTINGS, "input": {**SETTINGS["input"], "prompt": prompt}}
    path = tmp_path_factory.mktemp("p") / "a.png"
    path.write_bytes(images.encode_png(PICTURE, settings))
    assert images.read_settings(path)["input"]["prompt"] == prompt


def with_text(path: Path, text: str | None) -> Path:
    info = PngImagePlugin.PngInfo()
    if text is not None:
        info.add_text(images.CHUNK, text)
    PICTURE.save(path, pnginfo=info)
    return path


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"input": 3}', '"x"'])
def test_a_damaged_chunk_is_said_to_be_damaged(text: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="settings are damaged") as caught:
        images.read_settings(with_text(tmp_path / "a.png", text))
    assert caught.value.field == "like"


def test_a_picture_without_settings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="carries no settings"):
        images.read_settings(with_text(tmp_path / "a.png", None))


@pytest.mark.parametrize("harm", ["missing", "folder", "empty", "text", "cut", "bit", "zip-bomb"])
def test_what_is_no_picture_is_refused_by_name(harm: str, tmp_path: Path) -> None:
    path, good = tmp_path / "a.png", images.encode_png(PICTURE, SETTINGS)
    flipped = bytearray(good)
    flipped[good.index(b"darkroom") + 20] ^= 0xFF
    bomb = b"zTXt" + images.CHUNK.encode() + b"\0\0" + zlib.compress(b"x" * 3_000_000, 9)
    content = {
        "empty": b"",
        "text": b"not a picture",
        "cut": good[: len(good) // 2],
        "bit": bytes(flipped),
        "zip-bomb": good[:33]
        + struct.pack(">I", len(bomb) - 4)
        + bomb
        + struct.pack(">I", zlib.crc32(bomb))
        + good[33:],
    }
    if harm == "folder":
        path.mkdir()
    elif harm != "missing":
        path.write_bytes(content[harm])
    with pytest.raises(UnreadableImage) as caught:
        images.read_settings(path)
    assert str(path) in caught.value.message
    if harm not in ("bit", "zip-bomb"):
        with pytest.raises(UnreadableImage):
            images.read_picture(path, "image")


def test_a_picture_is_read_as_a_person_sees_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    PICTURE.save(tmp_path / "a.jpg", exif=exif)
    assert images.read_picture(tmp_path / "a.jpg", "image").size == (4, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "1", "CMYK"])
def test_pictures_of_other_kinds_become_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (8, 4)).save(path)
    assert images.read_picture(path, "image").mode == "RGB"


def test_a_digest_follows_the_pixels_and_not_the_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp"):
        PICTURE.save(tmp_path / name)
    one, other = (images.read_picture(tmp_path / name, "image") for name in ("a.png", "b.bmp"))
    assert images.digest(one) == images.digest(other)
    other.putpixel((0, 0), (1, 2, 3))
    assert images.digest(one) != images.digest(other)

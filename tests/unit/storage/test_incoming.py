"""Pictures from outside are decoded before anybody relies on them, and refused by name, with the field."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.errors import BadInput, DarkroomError, TooLarge, UnreadableImage
from darkroom.storage import incoming
from darkroom.storage.incoming import PictureLimits, decode_data_url, read_input_picture, receive

LIMITS = PictureLimits(max_bytes=200_000, max_pixels=100_000)
PICTURE = Image.linear_gradient("L").resize((64, 32)).convert("RGB")
KINDS = {"PNG": ("image/png", ".png"), "JPEG": ("image/jpeg", ".jpg"), "WEBP": ("image/webp", ".webp")}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def moving(kind: str) -> bytes:
    others = [PICTURE.rotate(90), PICTURE.rotate(180)]
    return saved(PICTURE, kind, save_all=True, append_images=others, duration=100)


GOOD = {kind: saved(PICTURE, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_picture_is_is_told_by_its_bytes(kind: str) -> None:
    received = receive(GOOD[kind], "image", LIMITS)
    assert (received.content_type, received.suffix) == KINDS[kind]
    assert (received.width, received.height) == (64, 32)
    assert received.data == GOOD[kind]


def test_a_cameras_jpeg_with_further_pictures_is_a_jpeg() -> None:
    data = moving("MPO")
    received = receive(data, "image", LIMITS)
    assert (received.content_type, received.suffix, received.width) == ("image/jpeg", ".jpg", 64)
    assert read_input_picture(data, LIMITS).size == (64, 32)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_moves_is_refused(kind: str) -> None:
    with pytest.raises(UnreadableImage, match=r"^mask_image moves.*PNG, JPEG or WebP") as caught:
        receive(moving(kind), "mask_image", LIMITS)
    assert caught.value.field == "mask_image"


@pytest.mark.parametrize("data", [b"", b"GIF", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\0" * 100])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match="no picture that can be read: give PNG, JPEG or WebP") as caught:
        receive(data, "image", LIMITS)
    assert caught.value.field == "image"


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_pictures_of_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(UnreadableImage):
        receive(saved(PICTURE, kind), "image", LIMITS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_a_truncated_file_is_refused_by_name(kind: str, part: float) -> None:
    noisy = Image.effect_noise((64, 32), 80).convert("RGB")
    data = saved(noisy, kind)
    with pytest.raises(UnreadableImage) as caught:
        receive(data[: int(len(data) * part)], "control_image", LIMITS)
    assert caught.value.field == "control_image"


def test_too_many_bytes_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(TooLarge, match="larger than 10 bytes") as caught:
        receive(b"not even a picture", "image", replace(LIMITS, max_bytes=10))
    assert caught.value.field == "image"


def test_a_picture_at_the_limit_is_taken_and_one_past_it_is_not() -> None:
    assert receive(GOOD["PNG"], "image", PictureLimits(len(GOOD["PNG"]), 64 * 32)).width == 64
    with pytest.raises(TooLarge, match="more than 2047 pixels"):
        receive(GOOD["PNG"], "image", PictureLimits(len(GOOD["PNG"]), 64 * 32 - 1))
    with pytest.raises(TooLarge, match="bytes"):
        receive(GOOD["PNG"], "image", PictureLimits(len(GOOD["PNG"]) - 1, 64 * 32))


def png_of_nothing(width: int, height: int) -> bytes:
    """A black PNG of one bit a pixel, made without holding its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + width // 8)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("most", [100_000, 10**12])
def test_a_decompression_bomb_is_refused_whatever_the_limit(most: int) -> None:
    bomb = png_of_nothing(20_000, 20_000)
    assert len(bomb) < LIMITS.max_bytes
    assert receive(png_of_nothing(80, 80), "image", LIMITS).width == 80
    with pytest.raises(TooLarge, match="pixels") as caught:
        receive(bomb, "image", replace(LIMITS, max_pixels=most))
    assert caught.value.field == "image"
    assert str(10**12) not in caught.value.message


def test_a_picture_is_read_as_a_person_sees_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    data = saved(PICTURE, "JPEG", exif=exif)
    assert read_input_picture(data, LIMITS).size == (32, 64)
    received = receive(data, "image", LIMITS)
    assert (received.width, received.height) == (32, 64)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "1", "L"])
def test_pictures_come_in_the_mode_that_was_asked_for(mode: str) -> None:
    data = saved(Image.new(mode, (8, 4)), "PNG")
    assert read_input_picture(data, LIMITS).mode == "RGB"
    assert read_input_picture(data, LIMITS, "mask_image", "L").mode == "L"


@given(st.sampled_from(sorted(GOOD)), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=12))
def test_no_damage_gets_past_the_named_errors(kind: str, harm: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD[kind])
    for place, value in harm:
        data[place % len(data)] = value
    caught: DarkroomError | None = None
    try:
        receive(bytes(data), "image", LIMITS)
    except (UnreadableImage, TooLarge) as error:
        caught = error
    assert caught is None or caught.field == "image"


def data_url(data: bytes, head: str = "data:image/png;base64,") -> str:
    return head + base64.b64encode(data).decode()


@pytest.mark.parametrize("head", ["data:image/png;base64,", "DATA:image/JPEG;name=a.png;base64,"])
def test_a_data_url_gives_its_picture_whatever_it_calls_it(head: str) -> None:
    received = decode_data_url(data_url(GOOD["PNG"], head), "image", LIMITS)
    assert (received.data, received.content_type) == (GOOD["PNG"], "image/png")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "data:",
        "data:,hello",
        "data:text/html;base64,PGI+",
        "data:image/png,abc",
        "data:image/png;base64",
        "image/png;base64,AAAA",
        "https://example.com/a.png",
        data_url(GOOD["PNG"])[:-1],
        data_url(GOOD["PNG"]) + "!",
        data_url(GOOD["PNG"]) + "é",
        data_url(b"not a picture"),
        "data:image/png;base64,",
    ],
)
def test_a_data_url_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode_data_url(text, "image", LIMITS)
    assert caught.value.field == "image"


def test_a_data_url_is_measured_before_it_is_decoded() -> None:
    limits = PictureLimits(len(GOOD["PNG"]), LIMITS.max_pixels)
    assert decode_data_url(data_url(GOOD["PNG"]), "image", limits).width == 64
    for more in (1, 2, 3, 1000):
        with pytest.raises(TooLarge):
            decode_data_url(data_url(GOOD["PNG"] + b"\0" * more), "image", limits)
    with pytest.raises(TooLarge):  # and not "no base64"
        decode_data_url("data:image/png;base64," + "!" * 10_000_000, "image", limits)


def test_every_error_of_a_stranger_is_bad_input_or_too_large() -> None:
    assert issubclass(UnreadableImage, BadInput)
    assert TooLarge.http_status == 413
    assert incoming.ALLOWED == "PNG, JPEG or WebP"

"""Pictures go out in the format that was asked for, with their settings inside or with nothing but pixels."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from darkroom.errors import BadInput
from darkroom.storage import encoding, images
from darkroom.storage.encoding import check_output, encode, preview_data_url

SETTINGS: dict[str, Any] = {
    "model": "landscapes",
    "revision": "0123456789abcdef" * 4,
    "scheduler": "DDIMScheduler",
    "versions": {"darkroom": "0.1.0"},
    "input": {
        "prompt": "a <red> fox & größer, 狐 😀",
        "num_inference_steps": 20,
        "seed": 7,
        "width": 64,
        "height": 32,
    },
}
PICTURE = Image.linear_gradient("L").resize((64, 32)).convert("RGB")
FORMATS = ["png", "jpeg", "webp"]
LOSSY = ["jpeg", "webp"]


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def user_comment(content: bytes) -> bytes:
    return bytes(opened(content).getexif().get_ifd(0x8769)[0x9286])


def error_of(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures, in steps of 256."""
    pairs = list(zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


@pytest.mark.parametrize("form", FORMATS)
def test_what_comes_out_is_what_was_asked_for(form: str) -> None:
    content, content_type, suffix = encode(PICTURE, SETTINGS, form)
    image = opened(content)
    assert (image.format or "").lower() == form
    assert image.get_format_mimetype() == content_type
    assert {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[form] == suffix
    assert image.size == PICTURE.size
    assert error_of(image, PICTURE) < (0.01 if form == "png" else 3)


def test_png_is_what_the_command_line_writes() -> None:
    assert encode(PICTURE, SETTINGS)[0] == images.encode_png(PICTURE, SETTINGS)


@pytest.mark.parametrize("form", FORMATS)
def test_the_settings_come_back(form: str, tmp_path: Path) -> None:
    content, _, suffix = encode(PICTURE, SETTINGS, form)
    (tmp_path / f"a{suffix}").write_bytes(content)
    assert images.read_settings(tmp_path / f"a{suffix}") == SETTINGS


@given(st.sampled_from(LOSSY), st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
def test_any_prompt_survives(tmp_path_factory: pytest.TempPathFactory, form: str, prompt: str) -> None:
    settings = {**SETTINGS, "input": {**SETTINGS["input"], "prompt": prompt}}
    content = encode(PICTURE, settings, form)[0]
    path = tmp_path_factory.mktemp("p") / "a"
    path.write_bytes(content)
    assert images.read_settings(path) == settings
    assert user_comment(content)[8:].decode("utf-16-be").startswith(prompt)


@pytest.mark.parametrize("form", LOSSY)
def test_other_programs_find_the_parameters_in_the_user_comment(form: str) -> None:
    comment = user_comment(encode(PICTURE, SETTINGS, form)[0])
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be") == images.parameters_of(SETTINGS)


@pytest.mark.parametrize("form", LOSSY)
def test_the_xmp_is_xml_that_any_reader_parses(form: str) -> None:
    from xml.etree import ElementTree

    tree = ElementTree.fromstring(opened(encode(PICTURE, SETTINGS, form)[0]).info["xmp"])
    found = tree.find(f".//{{{images.NAMESPACE}}}settings")
    assert found is not None
    assert found.text == images.json.dumps(SETTINGS, sort_keys=True)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_picture_gives_the_same_bytes(form: str) -> None:
    carrying = PICTURE.copy()
    carrying.info = {"dpi": (72, 72), "exif": b"Exif\0\0MM", "icc_profile": b"x" * 200, "comment": b"from an input"}
    first = encode(PICTURE, SETTINGS, form)[0]
    assert encode(PICTURE, dict(reversed(SETTINGS.items())), form)[0] == first
    assert encode(carrying, SETTINGS, form)[0] == first
    assert carrying.info["comment"] == b"from an input"


@pytest.mark.parametrize("form", FORMATS)
def test_without_metadata_there_are_only_pixels(form: str, tmp_path: Path) -> None:
    carrying = PICTURE.copy()
    carrying.info = {"exif": b"Exif\0\0MM", "xmp": b"fox", "icc_profile": b"fox" * 99, "comment": b"fox"}
    content, _, suffix = encode(carrying, SETTINGS, form, keep_metadata=False)
    assert b"fox" not in content
    assert b"darkroom" not in content
    assert not opened(content).getexif()
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(BadInput, match="carries no settings"):
        images.read_settings(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("form", LOSSY)
def test_quality_trades_bytes_for_likeness(form: str) -> None:
    noisy = Image.effect_noise((64, 64), 60).convert("RGB")
    low, middle, high = (encode(noisy, SETTINGS, form, quality)[0] for quality in (5, None, 100))
    assert len(low) < len(middle) < len(high)
    assert error_of(opened(low), noisy) > error_of(opened(high), noisy)
    assert middle == encode(noisy, SETTINGS, form, encoding.DEFAULT_QUALITY)[0]


def test_png_has_no_quality() -> None:
    assert encode(PICTURE, SETTINGS, "png", 1) == encode(PICTURE, SETTINGS, "png", 100)


@pytest.mark.parametrize(
    ("form", "quality", "field"),
    [
        ("gif", None, "output.format"),
        ("PNG", None, "output.format"),
        ("jpg", None, "output.format"),
        ("jpeg", 0, "output.quality"),
        ("webp", 101, "output.quality"),
        ("png", -1, "output.quality"),
    ],
)
def test_an_output_that_cannot_be_is_refused_at_the_door(form: str, quality: int | None, field: str) -> None:
    for refuse in (lambda: check_output(form, quality), lambda: encode(PICTURE, SETTINGS, form, quality)):
        with pytest.raises(BadInput) as caught:
            refuse()
        assert caught.value.field == field


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_kept_or_refused(mode: str) -> None:
    clear = Image.new(mode, (8, 8))
    for form in ("png", "webp"):
        assert opened(encode(clear, SETTINGS, form)[0]).convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]
    with pytest.raises(BadInput, match="no transparency") as caught:
        encode(clear, SETTINGS, "jpeg")
    assert caught.value.field == "output.format"


def test_the_longest_prompts_that_are_taken_fit_into_every_format() -> None:
    asked = {**SETTINGS["input"], "prompt": "😀" * 2000, "negative_prompt": "😀" * 2000}
    for form in FORMATS:
        assert encode(PICTURE, {**SETTINGS, "input": asked}, form)[0]


def test_settings_that_no_jpeg_holds_are_refused_by_name() -> None:
    settings = {**SETTINGS, "graph": "x" * 70_000}
    with pytest.raises(BadInput, match="too long to go into a JPEG") as caught:
        encode(PICTURE, settings, "jpeg")
    assert caught.value.field == "output.format"
    assert encode(PICTURE, settings, "webp")[0]
    assert encode(PICTURE, settings, "jpeg", keep_metadata=False)[0]


@pytest.mark.parametrize(("size", "small"), [((640, 320), (192, 96)), ((32, 64), (32, 64)), ((1, 5000), (1, 192))])
def test_a_preview_is_a_small_jpeg(size: tuple[int, int], small: tuple[int, int]) -> None:
    image = Image.new("RGBA", size, "red")
    image.info = {"exif": b"Exif\0\0MM", "comment": b"x" * 9999}
    head, _, text = preview_data_url(image).partition(",")
    content = base64.b64decode(text, validate=True)
    assert head == "data:image/jpeg;base64"
    assert opened(content).format == "JPEG"
    assert opened(content).size == small
    assert image.size == size
    assert b"x" * 99 not in content


def test_a_preview_is_light() -> None:
    assert len(preview_data_url(Image.effect_noise((1024, 1024), 60))) < 30_000
    assert len(preview_data_url(PICTURE.resize((512, 512)))) < 10_000


def test_a_jpegs_settings_are_where_the_standard_puts_them() -> None:
    """XMP as APP1 under Adobe's name (XMP specification, part 3), before the picture's data."""
    content, place, kinds = encode(PICTURE, SETTINGS, "jpeg")[0], 2, []
    while content[place + 1] != 0xDA:
        (length,) = struct.unpack(">H", content[place + 2 : place + 4])
        kinds.append((content[place + 1], content[place + 4 : place + 4 + length - 2].split(b"\0")[0]))
        place += 2 + length
    assert (0xE1, b"http://ns.adobe.com/xap/1.0/") in kinds
    assert (0xE1, b"Exif") in kinds

"""A picture has the format that its file's name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom.cli.formats import SUFFIXES, PictureFormat, format_of
from darkroom.errors import BadInput
from darkroom.storage.encoding import FORMATS


def test_the_suffix_says_the_format() -> None:
    said = {
        suffix: format_of(Path(f"sea{suffix}"), None) for suffix in (".png", ".jpg", ".JPEG", ".webp", ".mp4", ".wav")
    }
    assert said == {".png": "png", ".jpg": "jpeg", ".JPEG": "jpeg", ".webp": "webp", ".mp4": "mp4", ".wav": "wav"}


def test_without_a_file_it_is_what_is_asked_for() -> None:
    assert format_of(None, None) is None
    assert format_of(None, PictureFormat.WEBP) == "webp"
    assert format_of(Path("sea.jpg"), PictureFormat.JPEG) == "jpeg"


@pytest.mark.parametrize(
    ("name", "asked", "field"),
    [("sea.bmp", None, "output"), ("sea", PictureFormat.PNG, "output"), ("sea.jpg", PictureFormat.PNG, "--format")],
)
def test_what_does_not_agree_is_refused(name: str, asked: PictureFormat | None, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        format_of(Path(name), asked)
    assert caught.value.field == field


def test_all_that_a_service_writes_can_be_asked_for() -> None:
    assert {str(each) for each in PictureFormat} == set(FORMATS) == {str(each) for each in SUFFIXES.values()}

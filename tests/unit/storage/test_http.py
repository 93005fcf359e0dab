"""A part of an object over HTTP: what is asked of a gateway, and what is made of each answer."""

from __future__ import annotations

import pytest

from darkroom.errors import StorageUnavailable
from darkroom.storage.http import HttpStorage
from darkroom.storage.link import Link
from tests.integration.scripted_server import Line, scripted

KEY, DATA = "uploads/picture.png", bytes(range(256)) * 16
ONLY = range(100, 164)
PART = Line(206, DATA[100:164], {"Content-Range": f"bytes 100-163/{len(DATA)}"})


def read_from(url: str, only: range | None = ONLY) -> bytes:
    link = Link(url)
    try:
        return b"".join(HttpStorage(link, again_s=0.0).stream(KEY, only=only))
    finally:
        link.close()


def test_no_more_is_sent_than_the_part_that_is_asked_for() -> None:
    with scripted(PART) as script:
        assert read_from(script.url) == DATA[100:164]
    ((_, _, headers),) = script.heard
    assert headers["range"] == "bytes=100-163"


def test_who_asks_for_no_part_names_none() -> None:
    with scripted(Line(200, DATA)) as script:
        assert read_from(script.url, None) == DATA
    assert "range" not in script.heard[0][2]


def test_all_of_an_object_is_cut_where_its_server_knows_no_parts() -> None:
    with scripted(Line(200, DATA)) as script:
        assert read_from(script.url) == DATA[100:164]


@pytest.mark.parametrize(
    "line",
    [
        Line(206, DATA[200:264], {"Content-Range": f"bytes 200-263/{len(DATA)}"}),
        Line(206, DATA[100:164]),  # of which nobody says where it lies
        Line(206, DATA[100:150], {"Content-Range": f"bytes 100-163/{len(DATA)}"}),
        Line(200, DATA[:150]),
    ],
)
def test_other_bytes_than_were_asked_for_are_never_taken_for_them(line: Line) -> None:
    with scripted(line) as script, pytest.raises(StorageUnavailable):
        read_from(script.url)

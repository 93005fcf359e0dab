"""Requests to services of others, and the pictures in their answers; pure."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom.bench.dialects import pictures_in
from darkroom.bench.pictures import draw_mask, draw_start, kind_of
from darkroom.bench.plan import Wanted
from darkroom.bench.template import Template, read_template
from darkroom.client.wire import Answer
from darkroom.errors import BadInput, DarkroomError

WANTED = Wanted(0, 0.0, 8, 'a "red" fox & co', 7, images=2, model="m", size=(96, 64))
PNG = draw_start((8, 8))


def answer(content: Any) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer("http://there/x", 200, {}, body)


def said(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_template_puts_values_in_their_places_and_keeps_numbers_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIR_KEY", "s3cret")
    file = tmp_path / "there.toml"
    file.write_text(
        'url = "http://there:9000/{model}?seed={seed}&q={prompt}"\nimage = "images.*"\n'
        'headers = { Authorization = "Bearer ${THEIR_KEY}" }\n'
        '[body]\nprompt = "{prompt}, {width} wide"\nnumber = 3\n'
        '[body.parameters]\nsteps = "{steps}"\ncfg = "{guidance}"\nlist = ["{images}", true]\n'
    )
    request = read_template(file).request(WANTED)
    assert request.method == "POST"
    assert request.url == "http://there:9000/m?seed=7&q=a%20%22red%22%20fox%20%26%20co"
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert json.loads(request.content or b"") == {
        "prompt": 'a "red" fox & co, 96 wide',
        "number": 3,
        "parameters": {"steps": 8, "cfg": 7.5, "list": [2, True]},
    }


def test_a_get_has_no_body() -> None:
    request = Template("http://there/{steps}", method="GET").request(WANTED)
    assert (request.method, request.url, request.content) == ("GET", "http://there/8", None)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "needs a url"),
        ('url = "there"', "needs a url"),
        ('url = "http://x"\nmethod = "DELETE"', "allowed: POST, GET, PUT"),
        ('url = "http://x"\nverb = "POST"', "has verb; allowed: url, method"),
        ('url = "http://x/{size}"', r"names \{size\}; allowed: \{prompt\}"),
        ('url = "http://x"\nbody = { a = ["{what}"] }', r"names \{what\}"),
        ('url = "http://x"\nheaders = { a = 1 }', "table of texts"),
        ('url = "http://x"\nheaders = { a = "${NOT_THERE_AT_ALL}" }', "environment does not have"),
        ('url = "http://x"\nheaders = { a = "é" }', "printable ASCII"),
        ('url = "http://x"\nimage = "data..b"', "no path"),
        ('url = "http://x"\nmethod = "GET"\nbody = { a = 1 }', "GET does not carry"),
        ("url = ", "cannot be read"),
    ],
)
def test_a_wrong_template_is_refused_with_what_is_allowed(tmp_path: Path, text: str, what: str) -> None:
    file = tmp_path / "there.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=what) as refused:
        read_template(file)
    assert refused.value.field == "--template"


def test_pictures_are_found_as_a_body_or_along_a_path() -> None:
    assert [each.kind for each in pictures_in(answer(PNG), "body")] == ["png"]
    openai = {"data": [{"b64_json": said(PNG)}, {"b64_json": said(PNG)}]}
    assert len(pictures_in(answer(openai), "data.*.b64_json")) == 2
    assert len(pictures_in(answer(openai), "data.1.b64_json")) == 1
    url = {"image": f"data:image/png;base64,{said(PNG)}"}
    assert pictures_in(answer(url), "image")[0].content == PNG


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"<html>sorry</html>", "body"),
        (b"<html>sorry</html>", "data.0"),
        ({"data": []}, "data.*.b64_json"),
        ({"data": []}, "data.0"),
        ({"detail": "busy"}, "image"),
        ({"image": 5}, "image"),
        ({"image": "%%%"}, "image"),
        ({"image": said(b"no picture")}, "image"),
    ],
)
def test_an_answer_without_a_picture_is_a_failure_with_a_code(content: Any, place: str) -> None:
    with pytest.raises(DarkroomError, match="http://there/x") as refused:
        pictures_in(answer(content), place)
    assert refused.value.code == "no_image"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_kinds_of_pictures_are_told_by_their_first_bytes(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, kind)
    assert kind_of(file.getvalue()) == kind.lower()


def test_pictures_to_begin_from_have_the_size_and_the_mask_leaves_the_rim() -> None:
    start, mask = (Image.open(io.BytesIO(draw((96, 64)))) for draw in (draw_start, draw_mask))
    assert (start.size, start.mode, mask.size, mask.mode) == ((96, 64), "RGB", (96, 64), "L")
    assert (mask.getpixel((0, 0)), mask.getpixel((48, 32))) == (0, 255)

"""Requests to services of others, and the pictures in their answers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom.bench.dialects import Answered, Dialect, bare, open_native, open_openai, pictures_in
from darkroom.bench.pictures import draw_mask, draw_start, kind_of
from darkroom.bench.plan import Wanted
from darkroom.bench.template import Plain, Template, read_template
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


def test_a_content_type_in_small_letters_takes_the_place_of_ours() -> None:
    request = Template("http://x", headers={"content-type": "text/json"}, body={"a": 1}).request(WANTED)
    assert {name: said for name, said in request.headers.items() if name.lower() == "content-type"} == {
        "content-type": "text/json"
    }


def test_secrets_of_a_url_are_sent_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", "s3{steps}cret")
    file = tmp_path / "there.toml"
    file.write_text('url = "http://me:pw@there/${THEIR_KEY}/x?key=${THEIR_KEY}&n={steps}"')
    template = read_template(file)
    assert template.request(WANTED).url == "http://me:pw@there/s3%7Bsteps%7Dcret/x?key=s3%7Bsteps%7Dcret&n=8"
    assert Plain(template).url == "http://there/${THEIR_KEY}/x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://there:80/a", "http://there:80/a"),
        ("https://me:p@w@there/a?key=1#x", "https://there/a"),
        ("http://there?key=me@home", "http://there"),
        ("http://there/me@home", "http://there/me@home"),
    ],
)
def test_a_url_is_shown_without_who_asks_and_what(url: str, shown: str) -> None:
    assert bare(url) == shown


def test_the_url_of_a_service_is_shown_without_its_user() -> None:
    assert open_openai("http://me:pw@there/x").url == open_native("http://me:pw@there/x").url == "http://there/x"


@pytest.fixture
def there() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """A service that gives the answers of a list in turn, at a URL."""
    answers: list[tuple[int, bytes]] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def asked(dialect: Dialect, wanted: Wanted = WANTED) -> Answered:
    async def ask() -> Answered:
        try:
            return await dialect.ask(wanted, lambda: 0.0)
        finally:
            await dialect.close()

    return asyncio.run(ask())


def test_fewer_images_than_were_asked_for_are_no_success(there: tuple[str, list[tuple[int, bytes]]]) -> None:
    url, answers = there
    one, two = (json.dumps({"data": [{"b64_json": said(PNG)}] * count}).encode() for count in (1, 2))
    answers += [(200, one), (200, two), (200, PNG), (200, one)]
    openai = [asked(open_openai(url)) for _ in range(2)]
    body, path = (asked(Plain(Template(url, body={}, image=image))) for image in ("body", "data.*.b64_json"))
    codes = [answered.error and answered.error.code for answered in (*openai, body, path)]
    assert codes == ["too_few_images", None, "too_few_images", "too_few_images"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("rate_limit-1.x", "rate_limit-1.x"),
        ("a b", "http_429"),
        ("x" * 61, "http_429"),
        ("\x1b[2J", "http_429"),
        ("ü", "http_429"),
    ],
)
def test_a_foreign_code_is_told_where_it_is_a_word(
    there: tuple[str, list[tuple[int, bytes]]], code: str, told: str
) -> None:
    url, answers = there
    answers.append((429, json.dumps({"error": {"message": "no", "code": code}}).encode()))
    with pytest.raises(DarkroomError) as refused:
        asked(Plain(Template(f"{url}/x?key=s3cret", body={})))
    assert refused.value.code == told
    assert "s3cret" not in refused.value.message


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
        ('url = "http://x"\nheaders = { "é" = "a" }', "name no HTTP header may have"),
        ('url = "http://x"\nheaders = { a = "1", A = "2" }', "same header twice"),
        ('url = "http://x"\n[body]\na = 2026-01-02', "body that cannot be sent"),
        ('url = "http://x/${NOT_THERE_AT_ALL}"', "environment does not have"),
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

"""What a remote model offers, as its service says, and for how long that counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from darkroom.config import ModelSettings
from darkroom.errors import Unavailable
from darkroom.models.catalogue import REMOTE, Entry
from darkroom.models.remote import FRESH_S, KEEP_S, Remote
from darkroom.models.request import validate

LAYOUT = {"pipeline": "P", "scheduler": {"_class_name": "DDIMScheduler"}, "size_multiple": 8, "native_size": [64, 64]}
SAID: dict[str, Any] = {
    "id": "there",
    "object": "model",
    "created": 0,
    "owned_by": "darkroom",
    "tasks": ["text-to-image"],
    "sizes": [[64, 64]],
    "default_size": [64, 64],
    "solvers": ["ddim"],
    "presets": {"fast": {"num_inference_steps": 4, "guidance_scale": None, "solver": None, "of_a_later_release": 1}},
    "adapters": ["ink"],
    "is_loaded": True,
    "problem": None,
    "revision": "r1",
    "input": {},
    "layout": LAYOUT,
}


class Backend:
    """A service that answers what the test says, and remembers what it was shown."""

    def __init__(self) -> None:
        self.status, self.said, self.shown = 200, SAID, list[tuple[str, str]]()
        backend = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.shown.append((self.path, self.headers.get("Authorization", "")))
                body = json.dumps(backend.said).encode()
                self.send_response(backend.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    thread = Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remote(backend: Backend, clock: Clock, tmp_path: Path) -> Iterator[Remote]:
    (tmp_path / "key").write_text("dk_1_secret\n")
    said = ModelSettings(remote=backend.url, remote_model="there", api_key_file=tmp_path / "key")
    made = Remote(Entry("here", REMOTE, said, tmp_path), clock)
    yield made
    made.close()


def test_it_is_asked_by_its_name_over_there_with_the_key(remote: Remote, backend: Backend) -> None:
    described = remote.read()
    assert backend.shown == [("/v1/models/there", "Bearer dk_1_secret")]
    assert (described.offer.model, described.revision, described.is_loaded) == ("here", "r1", True)
    assert described.offer.solvers[0] == "ddim"
    assert described.offer.presets["fast"].num_inference_steps == 4
    asked = validate({"prompt": "x", "seed": 1, "adapters": {"ink": 1}}, described.offer)
    assert (asked.adapters, asked.adapter_digests) == ({"ink": 1.0}, {})


def test_the_environments_own_key_is_never_shown_there(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_API_KEY", "for-somebody-else")
    remote = Remote(Entry("here", REMOTE, ModelSettings(remote=backend.url), tmp_path))
    remote.read()
    remote.close()
    assert backend.shown == [("/v1/models/here", "")]


def test_a_fresh_description_is_not_asked_for_again(remote: Remote, backend: Backend, clock: Clock) -> None:
    assert remote.known() is None
    remote.read()
    clock.now += FRESH_S - 1
    assert remote.read() is remote.known()
    assert len(backend.shown) == 1
    clock.now += 2
    assert remote.known() is None
    remote.read()
    assert len(backend.shown) == 2


def test_the_latest_one_counts_for_a_while_when_nobody_answers(remote: Remote, backend: Backend, clock: Clock) -> None:
    first = remote.read()
    backend.status, backend.said = 503, {"error": {"code": "unavailable", "message": "no"}}
    clock.now += KEEP_S - 1
    assert remote.read() is first
    clock.now += 2
    with pytest.raises(Unavailable, match="cannot be asked just now"):
        remote.read()


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (401, {"error": {"code": "unauthorised", "message": "at http://secret.place"}}, "just now \\(unauthorised\\)"),
        (404, {"error": {"code": "unknown_model", "message": "no such model"}}, "does not know it"),
        (200, {**SAID, "problem": "its files are not at /srv/secret"}, "cannot serve it just now"),
        (200, {**SAID, "layout": None}, "words that this release does not know"),
        (200, {**SAID, "default_size": [1, 2, 3]}, "words that this release does not know"),
        (200, {"hello": "world"}, "words that this release does not know"),
        (200, [1, 2], "words that this release does not know"),
    ],
)
def test_what_is_wrong_is_said_without_a_secret(
    remote: Remote, backend: Backend, status: int, said: Any, why: str
) -> None:
    backend.status, backend.said = status, said
    with pytest.raises(Unavailable, match=why) as refused:
        remote.read()
    assert "secret" not in refused.value.message
    assert backend.url.removeprefix("http://") not in refused.value.message

"""A put that is killed, cut off or out of room leaves nothing visible; storage that fails is said to be unavailable."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from darkroom.errors import NotFound, StorageUnavailable
from darkroom.storage.objects import Storage, key_for_output, key_for_upload, open_storage
from tests.missing import skip_or_fail

SOURCE = Path(__file__).parents[2] / "src"
KEY = key_for_output("job-1", 1, 0, ".png")
SIZE = 4 * 1024 * 1024
SECRETS = {"AWS_ACCESS_KEY_ID": "known", "AWS_SECRET_ACCESS_KEY": "not-for-strangers"}
AWAIT_S = 120.0  # far more than anything here takes; a slow machine must not fail a test


def child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process of Python with `storage`, opened at its first argument."""
    head = "import os, signal, sys\nfrom darkroom.storage.objects import open_storage\n"
    command = [sys.executable, "-c", f"{head}storage = open_storage(sys.argv[1])\n{code}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_put_killed_before_its_name_is_there_leaves_what_was_there(
    step: str, old: bytes | None, tmp_path: Path
) -> None:
    storage = open_storage(str(tmp_path))
    if old:
        storage.put(KEY, old, "image/png")
    killed = child(
        f"os.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"storage.put(sys.argv[2], b'x' * {SIZE}, 'image/png')",
        str(tmp_path),
        KEY,
    )
    killed.communicate(timeout=AWAIT_S)
    assert killed.returncode == -signal.SIGKILL
    assert any(path.stat().st_size == SIZE for path in (tmp_path / ".partial").iterdir())  # it was in the middle
    assert list(storage.list()) == ([KEY] if old else [])
    if old:
        assert storage.get(KEY) == old
    else:
        with pytest.raises(NotFound):
            storage.get(KEY)
    storage.put(KEY, b"again", "image/png")
    assert storage.get(KEY) == b"again"


def test_a_file_past_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """A full disk, by the kernel's file-size limit: the write itself fails half-way."""
    code = f"""
import resource
from darkroom.errors import StorageUnavailable
storage.put("uploads/old.png", b"old", "image/png")
resource.setrlimit(resource.RLIMIT_FSIZE, ({SIZE // 2}, {SIZE // 2}))
for key in ("uploads/old.png", "uploads/new.png"):
    try:
        storage.put(key, b"x" * {SIZE}, "image/png")
    except StorageUnavailable as error:
        print(error.message)
storage.put("uploads/small.png", b"small", "image/png")
"""
    limited = child(code, str(tmp_path))
    said, faults = limited.communicate(timeout=AWAIT_S)
    assert (limited.returncode, faults) == (0, "")
    assert said.count("artifacts cannot be written: it is past the size that files may have here") == 2
    assert files_in(tmp_path) == {"uploads/old.png", "uploads/small.png"}
    assert open_storage(str(tmp_path)).get("uploads/old.png") == b"old"


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EDQUOT, "the disk is full: free some space"),
        (errno.EACCES, "correct the owner or mode"),
        (errno.EROFS, "mounted read-only"),
        (errno.EIO, "the disk reports a fault"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_a_disk_that_fails_says_what_to_do(
    number: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(str(tmp_path))

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageUnavailable, match=advice) as caught:
        storage.put(KEY, b"x", "image/png")
    assert str(tmp_path) not in caught.value.message
    assert str(tmp_path) in "".join(caught.value.__notes__)
    assert list(storage.list()) == []
    assert files_in(tmp_path) == set()


# An S3 server behind a wire that can be cut.


class Wire:
    """Forwards connections to a port on loopback; `up` and `down` say after how many bytes it breaks for good."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._ends: list[socket.socket] = []
        self._is_closing = threading.Event()
        self.up: float = float("inf")
        self.down: float = float("inf")
        self.is_cut = threading.Event()
        self.refusals = float("inf")  # of connections while it is cut; then it is whole again
        self.when_cut: Callable[[], None] = lambda: None
        self._start(self._accept)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._is_closing.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self.is_cut.is_set():
                near.close()
                self.refusals -= 1
                if not self.refusals:
                    self.is_cut.clear()
                continue
            near.settimeout(None)
            far = socket.create_connection(self._to)
            self._ends += [near, far]
            self._start(self._pump, near, far, "up")
            self._start(self._pump, far, near, "down")

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                passed += len(data)
                if passed > getattr(self, direction):
                    self.is_cut.set()
                    self.when_cut()
                    break
        self._shut(source, target)

    def _shut(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_closing.set()
        self._threads[0].join()  # it accepts: from here on there are no further ends
        self._shut(*self._ends)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[tuple[str, int]]:
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        skip_or_fail("moto, the S3 server of these tests, is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address = server.get_host_and_port()
    assert httpx.put(f"http://{address[0]}:{address[1]}/darkroom", trust_env=False).status_code == 200
    yield address
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def wire(s3_server: tuple[str, int]) -> Iterator[Wire]:
    wire = Wire(s3_server)
    yield wire
    wire.close()


def at(address: str, prefix: str = "a") -> str:
    return f"s3://darkroom/{prefix}?endpoint={address}&region=us-east-1"


def direct(s3_server: tuple[str, int], prefix: str = "a") -> Storage:
    return open_storage(at(f"http://{s3_server[0]}:{s3_server[1]}", prefix))


def test_a_writer_killed_in_the_middle_of_an_upload_leaves_nothing(s3_server: tuple[str, int], wire: Wire) -> None:
    writer = child(f"storage.put(sys.argv[2], b'x' * {SIZE}, 'image/png')", at(wire.address, "killed"), KEY)
    wire.up, wire.when_cut = SIZE / 4, writer.kill
    writer.communicate(timeout=AWAIT_S)
    assert wire.is_cut.is_set()
    assert writer.returncode == -signal.SIGKILL
    assert list(direct(s3_server, "killed").list()) == []


def test_an_upload_that_is_cut_off_is_said_and_leaves_nothing(s3_server: tuple[str, int], wire: Wire) -> None:
    wire.up = SIZE / 4
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        open_storage(at(wire.address, "cut"), timeout_s=2).put(KEY, b"x" * SIZE, "image/png")
    assert wire.is_cut.is_set()
    assert list(direct(s3_server, "cut").list()) == []


@pytest.mark.parametrize("verb", ["get", "stream"])
def test_a_download_that_is_cut_off_never_looks_whole(verb: str, s3_server: tuple[str, int], wire: Wire) -> None:
    direct(s3_server, "down").put(KEY, b"x" * SIZE, "image/png")
    storage = open_storage(at(wire.address, "down"), timeout_s=2)
    wire.down = SIZE / 4
    with pytest.raises(StorageUnavailable):
        storage.get(KEY) if verb == "get" else list(storage.stream(KEY, chunk=1000))
    assert wire.is_cut.is_set()


VERBS: dict[str, Callable[[Storage], object]] = {
    "put": lambda storage: storage.put(KEY, b"x", "image/png"),
    "get": lambda storage: storage.get(KEY),
    "stream": lambda storage: storage.stream(KEY),
    "size": lambda storage: storage.size(KEY),
    "delete": lambda storage: storage.delete([KEY, key_for_upload("a", ".png")]),
    "list": lambda storage: list(storage.list()),
    "check": lambda storage: storage.check(),
}


class Refusing(BaseHTTPRequestHandler):
    """Answers everything with `server.status`."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def refusing(status: int) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.status = status  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield address


TROUBLES = {
    "nobody is there": (nobody, "cannot be reached or failed"),
    "it says nothing": (silent, "cannot be reached or failed"),
    "it fails": (lambda: refusing(503), "cannot be reached or failed"),
    "we may not": (lambda: refusing(403), "refuses our credentials"),
    "it does not know us": (lambda: refusing(401), "refuses our credentials"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("verb", VERBS)
def test_an_object_store_in_trouble_is_unavailable_and_said_so_in_time(trouble: str, verb: str) -> None:
    make, said = TROUBLES[trouble]
    with make() as address, pytest.raises(StorageUnavailable, match=said) as caught:
        VERBS[verb](open_storage(at(address), timeout_s=0.5))
    assert caught.value.http_status == 503
    assert address not in caught.value.message
    told = "".join(caught.value.__notes__) + str(caught.value.__cause__)
    assert "s3://darkroom/a/" in told
    assert SECRETS["AWS_SECRET_ACCESS_KEY"] not in told


def test_a_short_trouble_is_got_over(s3_server: tuple[str, int]) -> None:
    """Retries: the first connections are closed at once, a later one is served."""
    wire = Wire(s3_server)
    wire.refusals = 2
    wire.is_cut.set()
    try:
        open_storage(at(wire.address, "short"), timeout_s=30).put(KEY, b"x", "image/png")
        assert direct(s3_server, "short").get(KEY) == b"x"
        assert not wire.is_cut.is_set()
    finally:
        wire.close()

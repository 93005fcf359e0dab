"""Pictures are fetched from real servers on loopback: TLS under the right name, redirects, limits of bytes and time."""

from __future__ import annotations

import datetime
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from darkroom.errors import BadInput, TooLarge, UnreadableImage
from darkroom.storage.incoming import PictureLimits, Received, fetch_url
from tests.missing import skip_or_fail

LIMITS = PictureLimits(max_bytes=100_000, max_pixels=100_000, timeout_s=60.0)
NAME = "pictures.example"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((16, 8)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()


class Pictures(BaseHTTPRequestHandler):
    """Answers by path; what a test wants to know of requests lies in `server.seen`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]
        self.close_connection = True
        kind, _, rest = self.path.strip("/").partition("/")
        getattr(self, f"say_{kind}")(rest)

    def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def say_png(self, rest: str) -> None:
        self.say(200, {"Content-Type": "text/html"}, PNG)

    def say_html(self, rest: str) -> None:
        self.say(200, {"Content-Type": "image/png"}, b"<html>secret</html>")

    def say_status(self, rest: str) -> None:
        self.say(int(rest), {}, PNG)

    def say_to(self, rest: str) -> None:
        self.say(302, {"Location": f"/{rest}" if ":" not in rest else rest.replace("~", "//")}, b"")

    def say_again(self, rest: str) -> None:
        self.say(307, {"Location": f"/again/{rest}x"}, b"")

    def say_large(self, rest: str) -> None:
        self.say(200, {"Content-Length": "100001"}, PNG)

    def say_endless(self, rest: str) -> None:
        self.send_response(200)
        self.end_headers()  # no length: the body ends with the connection
        sent = 0
        try:
            while True:
                self.wfile.write(b"x" * 10_000)
                sent += 10_000
        except OSError:
            self.server.seen.append(("sent", sent))  # type: ignore[attr-defined]

    def say_packed(self, rest: str) -> None:
        self.say(200, {"Content-Encoding": "gzip"}, PNG)

    def say_short(self, rest: str) -> None:
        self.say(200, {"Content-Length": str(len(PNG) + 10)}, PNG)

    def say_drip(self, rest: str) -> None:
        until = (
            time.monotonic() + 30
        )  # an end, so that a client that waits for ever fails its test and does not hang it
        try:
            while time.monotonic() < until and not self.server.closing.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(b"H" if rest == "head" else b"")
                if rest == "body":
                    self.say(200, {"Content-Length": "100000"}, b"")
                    rest = "more"
                elif rest == "more":
                    self.wfile.write(b"x")
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Pictures)
        self.seen: list[Any] = []
        self.closing = threading.Event()
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up, or refuses our certificate, is what some tests are about


def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving(Server())


@pytest.fixture
def fetch(server: Server) -> Callable[..., Received]:
    def fetch(path: str, limits: PictureLimits = LIMITS) -> Received:
        return fetch_url(f"http://127.0.0.1:{server.port}{path}", "image", limits, allow_private=True)

    return fetch


def test_a_picture_is_what_its_bytes_say(fetch: Callable[..., Received], server: Server) -> None:
    received = fetch("/png/a%20b?c=d&e=%2F#part")
    assert (received.data, received.content_type, received.width) == (PNG, "image/png", 16)
    path, headers = server.seen[0]
    assert path == "/png/a%20b?c=d&e=%2F"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Accept-Encoding"] == "identity"


def test_loopback_and_http_are_refused_unless_allowed(server: Server) -> None:
    for url in (f"http://127.0.0.1:{server.port}/png", f"https://127.0.0.1:{server.port}/png"):
        with pytest.raises(BadInput):
            fetch_url(url, "image", LIMITS)
    assert server.seen == []


def test_what_is_no_picture_is_refused_and_not_repeated(fetch: Callable[..., Received]) -> None:
    with pytest.raises(UnreadableImage) as caught:
        fetch("/html")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 404, 500])
def test_anything_but_200_is_refused(status: int, fetch: Callable[..., Received]) -> None:
    with pytest.raises(BadInput, match=f"answered with HTTP status {status}") as caught:
        fetch(f"/status/{status}")
    assert caught.value.field == "image"


@pytest.mark.parametrize(("path", "asked"), [("/to/png", 2), ("/to/to/png", 3), ("/to/to/to/png", 4)])
def test_a_few_redirects_are_followed(path: str, asked: int, fetch: Callable[..., Received], server: Server) -> None:
    assert fetch(path).data == PNG
    assert len(server.seen) == asked


def test_many_redirects_are_not(fetch: Callable[..., Received], server: Server) -> None:
    with pytest.raises(BadInput, match="redirects more than 3 times"):
        fetch("/again/")
    assert len(server.seen) == 4


@pytest.mark.parametrize("target", ["ftp:~a/b", "file:~/etc/passwd", "http:~user:secret@127.0.0.1/png", "http:~[::1/"])
def test_a_redirect_is_checked_like_a_url(target: str, fetch: Callable[..., Received]) -> None:
    with pytest.raises(BadInput) as caught:
        fetch(f"/to/{target}")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("host", ["169.254.169.254", "0.0.0.0", "[fe80::1]"])
def test_a_redirect_to_a_refused_address_is_refused(host: str, fetch: Callable[..., Received]) -> None:
    with pytest.raises(BadInput, match="not at a public address"):
        fetch(f"/to/http:~{host}/latest/meta-data")


def test_what_says_it_is_too_large_is_not_read(fetch: Callable[..., Received]) -> None:
    with pytest.raises(TooLarge, match="more than 100000 bytes") as caught:
        fetch("/large")
    assert caught.value.field == "image"


def test_what_turns_out_too_large_is_read_no_further(fetch: Callable[..., Received], server: Server) -> None:
    with pytest.raises(TooLarge):
        fetch("/endless")
    assert fetch("/png").data == PNG


def test_a_body_that_came_compressed_is_refused(fetch: Callable[..., Received]) -> None:
    with pytest.raises(BadInput, match="compressed"):
        fetch("/packed")


def test_a_body_that_breaks_off_is_refused(fetch: Callable[..., Received]) -> None:
    with pytest.raises(BadInput, match="could not be read from"):
        fetch("/short")


@pytest.mark.parametrize("where", ["nothing", "head", "body"])
def test_a_server_that_drips_is_left_when_the_time_is_over(where: str, fetch: Callable[..., Received]) -> None:
    began = time.monotonic()
    with pytest.raises(BadInput, match="did not answer in time"):
        fetch(f"/drip/{where}", replace(LIMITS, timeout_s=0.5))
    # Given up, and not before its time.
    assert time.monotonic() - began >= 0.5


def test_a_server_that_says_nothing_is_left_when_the_time_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for scheme in ("http", "https"):
            url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
            with pytest.raises(BadInput, match="in time"):
                fetch_url(url, "image", replace(LIMITS, timeout_s=0.3), allow_private=True)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_fetch_that_ends_in_the_middle_lets_go_of_its_connection(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over just after connecting; a socket that nobody closed would be a warning, and fail the test."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect = socket.create_connection
        now = time.monotonic()

        def connect_late(*arguments: Any, **named: Any) -> socket.socket:
            monkeypatch.setattr(time, "monotonic", lambda: now + 10_000)
            return connect(*arguments, **named)

        monkeypatch.setattr(socket, "create_connection", connect_late)
        with pytest.raises(BadInput, match="in time"):
            fetch_url(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/", "image", LIMITS, allow_private=True)
        monkeypatch.undo()
        near, _ = silent.accept()
        with near:
            near.settimeout(60)
            assert near.recv(1) == b""


def test_nobody_there_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(BadInput, match="could not be read from"):
        fetch_url(f"http://127.0.0.1:{port}/", "image", LIMITS, allow_private=True)


# TLS, under a name that only the test's own resolver knows.


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for NAME, and its key."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        skip_or_fail("cryptography, which moto brings, is not installed")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(pem, plain, serialization.NoEncryption()))
    return files


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Server, ssl.SSLContext, list[str | None]]]:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    for server in serving(Server(context)):
        yield server, ssl.create_default_context(cafile=str(cert)), asked


def test_the_judged_address_is_asked_under_the_urls_name(
    secure: tuple[Server, ssl.SSLContext, list[str | None]],
) -> None:
    server, trust, asked = secure
    looked_up: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> list[str]:
        looked_up.append((host, port))
        return ["127.0.0.1"]

    url = f"https://{NAME}:{server.port}/png"
    assert fetch_url(url, "image", LIMITS, True, resolver=resolver, trust=trust).data == PNG
    assert looked_up == [(NAME, server.port)]
    assert asked == [NAME]
    assert server.seen[0][1]["Host"] == f"{NAME}:{server.port}"


@pytest.mark.parametrize("case", ["another name", "nobody vouches"])
def test_a_certificate_that_does_not_hold_is_refused(
    case: str, secure: tuple[Server, ssl.SSLContext, list[str | None]]
) -> None:
    server, trust, _ = secure
    host, context = ("other.example", trust) if case == "another name" else (NAME, None)
    with pytest.raises(BadInput, match=r"could not be read from.*certificate"):
        fetch_url(
            f"https://{host}:{server.port}/png",
            "image",
            LIMITS,
            True,
            resolver=lambda *_: ["127.0.0.1"],
            trust=context,
        )
    assert server.seen == []

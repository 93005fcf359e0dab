"""A hub on loopback: the part of the Hugging Face Hub's API by which files are listed and fetched."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """`repository` (owner/name) holds what lies in `folder`; `fetched` are names of files in the order of fetching."""

    url: str
    repository: str
    folder: Path
    fetched: list[str] = field(default_factory=list)

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that is to use this hub and no other, with its cache below `home`."""
        found = {"HF_ENDPOINT": self.url, "HF_HOME": str(home / "hub"), "NO_PROXY": "127.0.0.1"}
        return found | {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def names(self) -> list[str]:
        """Of all its files."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def tree(self) -> bytes:
        """The answer of /api/models/OWNER/NAME/tree/COMMIT?recursive=true."""
        files = [
            {"type": "file", "path": name, "size": (self.folder / name).stat().st_size, "oid": COMMIT}
            for name in self.names()
        ]
        return json.dumps(files).encode()

    def description(self) -> bytes:
        """The answer of /api/models/OWNER/NAME."""
        siblings = [{"rfilename": name} for name in self.names()]
        return json.dumps({"id": self.repository, "sha": COMMIT, "siblings": siblings, "private": False}).encode()


@contextmanager
def hub_server(repository: str, folder: Path) -> Iterator[Hub]:
    """A hub with that one repository."""

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(is_head=True)

        def do_GET(self) -> None:
            self._answer(is_head=False)

        def _answer(self, *, is_head: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            described, resolved = f"/api/models/{repository}", f"/{repository}/resolve/"
            if path == described or path in (f"{described}/revision/main", f"{described}/revision/{COMMIT}"):
                self._send(hub.description(), "application/json", is_head=is_head)
                return
            if path == f"{described}/tree/{COMMIT}":
                self._send(hub.tree(), "application/json", is_head=is_head)
                return
            revision, _, name = path.removeprefix(resolved).partition("/")
            file = folder / name
            if not path.startswith(resolved) or revision not in ("main", COMMIT) or not file.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound" if path.startswith(resolved) else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if not is_head:
                hub.fetched.append(name)
            self._send(file.read_bytes(), "application/octet-stream", is_head=is_head)

        def _send(self, body: bytes, kind: str, *, is_head: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if not is_head:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}", repository, folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

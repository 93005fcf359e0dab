"""A double of three clouds' metadata servers that is as strict as they are about methods, headers and versions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = "spot-7"


class Metadata:
    """What the clouds say; `is_taken` is the notice. `token` is EC2's; a new one may be asked for."""

    def __init__(self) -> None:
        self.is_taken, self.token, self.asked = False, "first", 0
        self.others = ["another-machine"]  # Azure tells of the neighbours too
        self.url = ""

    def answer(self, method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]) -> tuple[int, str]:
        """A status and a body."""
        self.asked += 1
        if path == "/latest/api/token":
            is_allowed = method == "PUT" and headers.get("x-aws-ec2-metadata-token-ttl-seconds", "").isdigit()
            return (200, self.token) if is_allowed else (400, "")
        if method != "GET":
            return 405, ""
        if path == "/latest/meta-data/spot/instance-action":
            return self._aws(headers)
        if path == "/computeMetadata/v1/instance/preempted":
            is_ours = headers.get("metadata-flavor") == "Google"
            return (200, str(self.is_taken).upper()) if is_ours else (403, "Forbidden")
        return self._azure(path, headers, query)

    def _aws(self, headers: dict[str, str]) -> tuple[int, str]:
        if headers.get("x-aws-ec2-metadata-token") != self.token:
            return 401, ""
        return (200, '{"action": "terminate", "time": "2026-11-22T08:22:00Z"}') if self.is_taken else (404, "")

    def _azure(self, path: str, headers: dict[str, str], query: dict[str, list[str]]) -> tuple[int, str]:
        if headers.get("metadata") != "true" or "api-version" not in query:
            return 400, '{"error": "Bad request. Required metadata header not specified"}'
        if path == "/metadata/instance/compute/name":
            return 200, NAME
        if path != "/metadata/scheduledevents":
            return 404, ""
        resources = [NAME] if self.is_taken else self.others
        events = [
            {"EventId": "1", "EventType": "Preempt", "ResourceType": "VirtualMachine", "Resources": resources},
            {"EventId": "2", "EventType": "Freeze", "ResourceType": "VirtualMachine", "Resources": [NAME]},
        ]
        return 200, json.dumps({"DocumentIncarnation": 1, "Events": events})


@contextmanager
def metadata_server() -> Iterator[Metadata]:
    """It answers at `url` until it is left."""
    metadata = Metadata()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = metadata.answer(self.command, place.path, headers, parse_qs(place.query))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    metadata.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield metadata
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

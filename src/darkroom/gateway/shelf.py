"""Files of one folder as answers: compressed once and kept in memory, with an ETag each.

What lies there may be built anew while it is served: a file is read again when its time or size has changed.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

KEPT_BYTES = 32 * 1024 * 1024
WORTH_IT = 512  # bytes; gzip's own would eat what is saved below
TEXTS = ("text/", "application/json", "application/javascript", "application/manifest+json", "image/svg+xml")
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
TYPES |= {".woff2": "font/woff2", ".webmanifest": "application/manifest+json", ".map": "application/json"}
SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Shelved:
    """A file as it was at `stamp`; `packed` is the same in gzip, None where that is not smaller."""

    content_type: str
    plain: bytes
    packed: bytes | None
    etag: str
    stamp: tuple[int, int]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.plain) + len(self.packed or b"")


class Shelf:
    """A folder's files; used from several threads. It blocks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: OrderedDict[str, Shelved] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def find(self, name: str) -> Shelved | None:
        """The file of that name below the folder; None where there is none, or the name leads elsewhere."""
        if not all(SEGMENT.fullmatch(segment) for segment in name.split("/")):
            return None
        path = self.root / name
        try:
            status = path.stat()
            is_ours = path.is_file() and path.resolve().is_relative_to(self.root.resolve())
        except OSError:
            return None
        return self._of(name, path, status) if is_ours else None

    def _of(self, name: str, path: Path, status: os.stat_result) -> Shelved | None:
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and kept.stamp == (status.st_mtime_ns, status.st_size):
                self._kept.move_to_end(name)
                return kept
        try:
            found = shelved(path.name, path.read_bytes(), (status.st_mtime_ns, status.st_size))
        except OSError:
            return None  # it is being built anew
        self._keep(name, found)
        return found

    def _keep(self, name: str, found: Shelved) -> None:
        with self._lock:
            old = self._kept.pop(name, None)
            self._size -= old.size if old is not None else 0
            if found.size > KEPT_BYTES:
                return
            self._kept[name] = found
            self._size += found.size
            while self._size > KEPT_BYTES:
                self._size -= self._kept.popitem(last=False)[1].size


def shelved(name: str, data: bytes, stamp: tuple[int, int]) -> Shelved:
    """A file made ready to be sent."""
    kind = type_of(name)
    packed = gzip.compress(data, 9, mtime=0) if kind.startswith(TEXTS) and len(data) >= WORTH_IT else None
    is_smaller = packed is not None and len(packed) < len(data)
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    etag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'
    return Shelved(kind + charset, data, packed if is_smaller else None, etag, stamp)


def type_of(name: str) -> str:
    """What a browser is told; the system's own tables differ between machines, so what we build is named here."""
    suffix = Path(name).suffix.lower()
    return TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"

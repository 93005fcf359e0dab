"""The hash that names a model's revision: what it was made with can be told apart from what it is now.

SHA-256 over the names and hashes of the files that decide the pixels. Hashing gigabytes takes seconds, so each file's
hash is kept in DARKROOM_HOME by its size and modification time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

SHORT_LENGTH = 12
CACHE_NAME = "revisions.json"


def short(revision: str) -> str:
    """The form shown to people."""
    return revision[:SHORT_LENGTH]


def revision_of(files: Mapping[str, Path], home: Path) -> str:
    """The hash over files by name, the same wherever the model lies; `home` keeps what was hashed before."""
    known = _read_cache(home / CACHE_NAME)
    total, fresh = hashlib.sha256(), {}
    for name, path in sorted(files.items()):
        key = _key(path)
        fresh[key] = known.get(key) or _hash_file(path)
        total.update(f"{name}\0{fresh[key]}\n".encode())
    if any(key not in known for key in fresh):
        _write_cache(home / CACHE_NAME, {**known, **fresh})
    return total.hexdigest()


def hash_of(path: Path, home: Path) -> str:
    """SHA-256 of one file; `home` keeps what was hashed before."""
    known, key = _read_cache(home / CACHE_NAME), _key(path)
    if key not in known:
        known[key] = _hash_file(path)
        _write_cache(home / CACHE_NAME, known)
    return known[key]


def _key(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(path: Path) -> dict[str, str]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # a cache that is not there or not whole is made again
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _write_cache(path: Path, hashes: dict[str, str]) -> None:
    """Whole or not at all; a home that cannot be written costs time at the next start, nothing else."""
    current = {key: value for key, value in hashes.items() if Path(key.rsplit(":", 2)[0]).exists()}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(current, file, indent=1)
        os.replace(name, path)

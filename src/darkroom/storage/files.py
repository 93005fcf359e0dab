"""Writing a file so that it is whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ..errors import OutputNotWritable


def check_writable(path: Path) -> None:
    """Raise `OutputNotWritable` unless a file can be made there; said before the work, not after it."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputNotWritable(f"{folder} is not there: make the folder first", field="output")
    if path.is_dir():
        raise OutputNotWritable(f"{path} is a folder; give a file name", field="output")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputNotWritable(f"{folder} cannot be written to: {error.strerror}", field="output") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write through a file beside it, so that a reader sees the old bytes or the new ones, and nothing between."""
    try:
        handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputNotWritable(f"{path} cannot be written: {error.strerror}", field="output") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        raise OutputNotWritable(f"{path} cannot be written: {error.strerror}", field="output") from error
    finally:
        Path(name).unlink(missing_ok=True)  # gone already where all went well


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

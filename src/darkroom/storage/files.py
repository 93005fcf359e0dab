"""Writing a file so that it is whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from pathlib import Path

from ..errors import OutputNotWritable

PARTIAL = ".partial"  # the folder, inside a storage's, of what is being written
MOVE_TRIES = 20
STALE_S = 24 * 3600.0  # nobody is still writing a file of that age


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


def put_durably(root: Path, key: str, content: bytes, *, is_new: bool = False) -> None:
    """Write `content` at `root`/`key`: whole, and safe from a power cut when this returns.

    Raises OSError, with nothing visible that was not there before; `is_new`: FileExistsError where there is a file.
    """
    target, partial = root / key, root / PARTIAL / uuid.uuid4().hex
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        # Not a temporary file of mode 0600: others, such as a web server, may be meant to read.
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _link(partial, target) if is_new else _move(partial, target)
    finally:
        partial.unlink(missing_ok=True)  # moved away already where all went well
    # A name is on the disk once its folder is, and that folder's name once the folder above is.
    for folder in target.relative_to(root).parents:
        _sync_folder(root / folder)


def remove(root: Path, key: str) -> None:
    """Remove `root`/`key`, and its folder if that was the last in it; what is not there is removed already."""
    target = root / key
    target.unlink(missing_ok=True)
    if target.parent.parent != root:
        with contextlib.suppress(OSError):  # others are in it
            target.parent.rmdir()


def sweep_partial(root: Path, now: float) -> None:
    """Remove what writers left that were killed in the middle; `now` is seconds since the epoch."""
    folder = root / PARTIAL
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # its writer, or another sweep, was faster
            if path.stat().st_mtime < now - STALE_S:
                path.unlink()


def _move(source: Path, target: Path) -> None:
    for turn in range(MOVE_TRIES):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
            return
        except (FileNotFoundError, FileExistsError):
            # `remove` took the folder, which was empty, just before the file came; make it again.
            if turn == MOVE_TRIES - 1:
                raise


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)  # unlike a move, it never replaces


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # cannot open a folder; NTFS keeps names in its journal
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's file mode mask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

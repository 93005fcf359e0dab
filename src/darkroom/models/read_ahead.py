"""The kernel is told of a model's files as its load begins, and reads them from disk while the load goes on.

Loading maps files, and a mapped page is read where it is first touched. A disk behind the kernel's small read-ahead
(128 KiB, unless the machine says otherwise) then waits for us as long as we wait for it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from ..engine.cgroup import CGROUP, free_in_group
from .catalogue import Entry
from .weights import plain_files

ASKED_BYTES = 128 * 2**10  # of one call the kernel reads no more than its own read-ahead, and says nothing
ROOM_SHARE = 0.5  # of free memory: pages that are thrown out before their use would be read twice


def begin(entry: Entry) -> threading.Thread | None:
    """Have an entry's weights read into the page cache by a thread; None where that cannot be, or would not fit."""
    try:
        files = _files_of(entry)
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return None  # the load says by name what is wrong with a file
    free = min(psutil.virtual_memory().available, free_in_group(CGROUP))
    if not size or size > ROOM_SHARE * free or not hasattr(os, "posix_fadvise"):
        return None
    thread = threading.Thread(target=ask_for, args=(files,), name="darkroom-read-ahead", daemon=True)
    thread.start()  # nobody waits for it
    return thread


def ask_for(files: Sequence[Path]) -> None:
    """Ask the kernel to read them; returns once it has begun with the last."""
    with contextlib.suppress(OSError):
        for file in files:
            with file.open("rb", buffering=0) as opened:
                for at in range(0, file.stat().st_size, ASKED_BYTES):
                    os.posix_fadvise(opened.fileno(), at, ASKED_BYTES, os.POSIX_FADV_WILLNEED)


def _files_of(entry: Entry) -> list[Path]:
    if entry.settings.file is None:
        return plain_files(entry.folder, "*/*.safetensors")
    return [file for file in (entry.settings.file,) if file.suffix == ".safetensors" and file.is_file()]

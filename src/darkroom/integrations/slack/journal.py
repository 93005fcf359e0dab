"""Which jobs still owe somebody an answer, in a file, so that a restart forgets none."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ...errors import OutputNotWritable
from ...storage.files import write_whole

log = logging.getLogger(__name__)


class Journal:
    """Jobs without an answer yet, each with the `ts` of its message in the thread. Not safe for several processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = self._read()

    @property
    def open(self) -> dict[str, str]:
        """Job ids, and the messages that show their progress."""
        return dict(self._open)

    def add(self, job_id: str, ts: str) -> None:
        """From here on this job is remembered."""
        self._open[job_id] = ts
        self._write()

    def remove(self, job_id: str) -> None:
        """It has its answer."""
        if self._open.pop(job_id, None) is not None:
            self._write()

    def _read(self) -> dict[str, str]:
        try:
            said = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(job_id): str(ts) for job_id, ts in said.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError):
            log.warning("slack_journal_unreadable", extra={"path": str(self._path)})
            return {}

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps(self._open).encode())
        except (OSError, OutputNotWritable) as error:  # jobs that still live when we come back are found without it
            log.warning("slack_journal_not_written", extra={"path": str(self._path), "reason": str(error)})

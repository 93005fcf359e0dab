"""Measured curves on disk, so that an engine need not learn again what the one before it knew."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from .profile import Profile, Samples

log = logging.getLogger(__name__)

SAVE_EVERY_S = 300.0


class CurveFile:
    """One JSON file: conditions -> key -> rows -> seconds; `path` None keeps nothing.

    Processes may share a path: each replaces the file as a whole, and the last one to save is remembered.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = None if path is None else Path(path)
        self._saved_at = time.monotonic()

    def read(self) -> Samples:
        """What was measured under conditions like the present ones; a file that cannot be read says nothing."""
        return self._whole().get(conditions(), {})

    def save(self, profile: Profile) -> None:
        """Write what is known under these conditions, and leave what the file knows of others."""
        if self.path is None:
            return
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._whole() | {conditions(): profile.samples()}), encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            log.warning("the profile is not saved: %s", error)

    def save_now_and_then(self, profile: Profile) -> None:
        """After each batch: a process that is killed must not have learned for nothing."""
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._saved_at = time.monotonic()
            self.save(profile)

    def _whole(self) -> dict[str, Samples]:
        if self.path is None or not self.path.exists():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: _samples_of(curves) for name, curves in found.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("the profile %s cannot be read and is begun anew: %s", self.path, error)
            return {}


def _samples_of(curves: Any) -> Samples:
    """As JSON has it, where every key is text; raises for what is nothing like it."""
    return {
        key: {int(rows): [float(each) for each in seconds] for rows, seconds in curve.items()}
        for key, curve in curves.items()
    }


def conditions() -> str:
    """What seconds depend on beside module, shape and rows."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"

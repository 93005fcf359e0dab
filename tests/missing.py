"""What a test needs and does not find: it skips with the reason, and fails where CI runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

BESIDE_PATH = ("/usr/sbin", "/sbin")  # where servers lie that people do not call


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it where the environment says `CI=true`."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"CI must test everything: {reason}")
    pytest.skip(reason)


def need(program: str) -> str:
    """The program's path."""
    found = shutil.which(program) or shutil.which(program, path=os.pathsep.join(BESIDE_PATH))
    if found is None:
        skip_or_fail(f"{program} is not installed")
    return found


def need_file(path: Path, what: str) -> Path:
    """The file itself."""
    if not path.exists():
        skip_or_fail(f"{what} is not in this checkout")
    return path

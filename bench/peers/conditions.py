"""What figures of one folder have in common: with other code, or on another machine, they could not be compared."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from bench.service.box import ROOT

from .environments import HERE

CPU_INFO = Path("/proc/cpuinfo")
REVISION = "revision of Darkroom"
MEASURING = ("*.py", "requirements-*.txt", "servers/**/*.py", "servers/**/*.pbtxt")


def conditions() -> dict[str, str]:
    """By what they are called."""
    said = {"code of the bench": code(), "torch": version("torch"), "processor": processor()}
    return said | {REVISION: revision()}


def differing(kept: Mapping[str, object], now: Mapping[str, object], *, may_mix: bool = False) -> list[str]:
    """What is not as it was; `may_mix`: another revision of Darkroom is meant."""
    return [name for name, value in now.items() if kept.get(name) != value and not (may_mix and name == REVISION)]


def code() -> str:
    """A digest of all that measures and serves."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in MEASURING for path in HERE.glob(pattern)}):
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def processor() -> str:
    """Its model, as Linux says it."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def revision() -> str:
    """Of what serves, not of pages beside it; `+` where it was changed since."""
    return _git("log", "-1", "--format=%h", "--abbrev=12", "--", "src") + ("+" if _git("status", "-s", "src") else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()

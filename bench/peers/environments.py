"""An environment for each peer: its own packages, pinned, and behind them the project's torch and diffusers.

So all compute with the same build of torch, and none of the peers' packages comes near Darkroom's own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "out" / "peers" / "environments"
SHARED = "the-projects-torch.pth"
CONSTRAINTS = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")
TOLD = 300  # characters of what pip said last


class NotInstalled(Exception):
    """Why a peer cannot be measured here."""


def made(name: str, folder: Path) -> Path:
    """The environment's folder, made where it is not there as its requirements say. Raises `NotInstalled`."""
    needed, place = HERE / f"requirements-{name}.txt", folder / name
    wanted = hashlib.sha256(needed.read_bytes() + shared_packages().encode()).hexdigest()
    stamp = place / ".made"
    if stamp.exists() and stamp.read_text() == wanted:
        return place
    print(f"making the environment of {name}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", str(place)])
    # What is pinned is all of it: pip would otherwise ask for what is shared.
    _run([str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "-r", str(needed)])
    (packages(place) / SHARED).write_text(shared_packages(), encoding="utf-8")
    stamp.write_text(wanted)
    return place


def packages(place: Path) -> Path:
    """An environment's site-packages."""
    return next((place / "lib").glob("python*/site-packages"))


def shared_packages() -> str:
    """The project's."""
    return sysconfig.get_path("purelib")


def main(names: list[str]) -> int:
    """Make those that can be made; 1 where one cannot."""
    failed = 0
    for name in names:
        try:
            made(name, ENVIRONMENTS)
        except (NotInstalled, OSError) as error:
            failed = 1
            print(f"{name} cannot be installed: {error}", file=sys.stderr)
    return failed


def _run(command: list[str]) -> None:
    """Without the constraints that `make` sets for the project's own packages."""
    run_whole(command, {name: value for name, value in os.environ.items() if name not in CONSTRAINTS})


def run_whole(
    command: list[str], around: Mapping[str, str], folder: Path | None = None, most_s: float | None = None
) -> None:
    """A command to its end; raises `NotInstalled` with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=around, cwd=folder, timeout=most_s)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotInstalled(said[-1][:TOLD])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

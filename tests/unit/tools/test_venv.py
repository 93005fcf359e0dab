"""The first thing a newcomer runs: it finds a Python that fits, or says in words what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SHELL = "/bin/sh"


def run(venv: Path, search: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [SHELL, str(ROOT / "tools/venv.sh"), str(venv)]
    return subprocess.run(command, env={"PATH": str(search), **environment}, capture_output=True, text=True)


def fake_python(folder: Path, name: str, does: str) -> None:
    path = folder / name
    path.write_text(f"#!{SHELL}\n{does}\n")
    path.chmod(0o755)


def test_without_a_fitting_python_it_says_what_to_install(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "exit 1")
    ended = run(tmp_path / "venv", tmp_path)
    assert ended.returncode == 1
    assert "Python 3.11, 3.12 or 3.13" in ended.stderr


def test_the_first_that_fits_makes_the_environment(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3", "exit 1")
    fake_python(tmp_path, "python3.12", 'echo "$0 $*"')
    ended = run(tmp_path / "venv", tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1].endswith(f"python3.12 -m venv {tmp_path / 'venv'}")


def test_a_python_may_be_named(tmp_path: Path) -> None:
    fake_python(tmp_path, "mine", 'echo "$0 $*"')
    ended = run(tmp_path / "venv", tmp_path, PYTHON3="mine")
    assert "mine -m venv" in ended.stdout


def test_an_environment_that_fits_is_kept(tmp_path: Path) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").symlink_to(sys.executable)
    ended = run(tmp_path / "venv", tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")

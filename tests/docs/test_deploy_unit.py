"""The systemd unit: what it starts exists here, and systemd understands every line of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.missing import need

from .deployed import GUIDE, UNIT, asked_of_the_cli, unit_lines

LINES = unit_lines(UNIT.read_text(encoding="utf-8"))
SAID = dict(LINES)
ENVIRONMENT = dict(value.split("=", 1) for name, value in LINES if name == "Environment")
STATE = f"/var/lib/{SAID['StateDirectory']}"


def verify(unit: Path) -> str:
    """What `systemd-analyze verify` has to say against a unit; it speaks and ends with 0."""
    command = [need("systemd-analyze"), "verify", "--man=no", str(unit)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    return tried.stderr


def test_what_it_starts_is_a_command_of_ours() -> None:
    asked = asked_of_the_cli(SAID["ExecStart"].split())
    assert not asked["is_insecure"]


def test_systemd_understands_each_line(tmp_path: Path) -> None:
    program = SAID["ExecStart"].split()[0]
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(program, "/bin/true"))
    assert verify(unit) == ""


def test_systemd_would_say_so_of_a_line_that_it_does_not_know(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text("[Service]\nExecStart=/bin/true\nKilMode=mixed\n")
    assert "KilMode" in verify(unit)


def test_all_that_is_written_lies_where_the_service_may_write() -> None:
    assert SAID["ProtectSystem"] == "strict"  # else this test says nothing
    assert SAID["ProtectHome"] == "true"  # so diffusers' own place for downloads is not there
    for name in ("DARKROOM_HOME", "HF_HOME"):
        assert ENVIRONMENT[name] == STATE or ENVIRONMENT[name].startswith(f"{STATE}/")


def test_prompts_and_pictures_are_for_its_user_alone() -> None:
    assert SAID["User"] != "root"
    assert SAID["StateDirectoryMode"] == "0700"


def test_the_guide_makes_all_that_it_counts_on() -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("### As a systemd service")[2].partition("\n### ")[0]
    program = Path(SAID["ExecStart"].split()[0])
    for made in (f"useradd --system {SAID['User']}", SAID["WorkingDirectory"], f"-m venv {program.parents[1]}"):
        assert made in section

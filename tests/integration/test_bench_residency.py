"""The program that measures how long models take to come runs through; how fast it is here says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_way_of_a_model_is_measured_and_written(tmp_path: Path) -> None:
    out = tmp_path / "residency.json"
    command = [sys.executable, "-m", "bench.residency", "--rounds", "1", "--widths", "tiny", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(out.read_text())["models"]
    assert [one["model"] for one in told] == ["landscapes", "tiny"]
    assert all(one[name] > 0 for one in told for name in ("mib", "disk_s", "first_leave_s", "leave_s", "host_s"))

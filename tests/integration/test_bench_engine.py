"""The program that takes the engine's figures runs through, small; how fast it is here says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("curve", "gain", "overhead", "join", "arrivals", "parity", "adapters", "slo", "reproducible")


@pytest.mark.slow
def test_every_part_is_measured_and_written(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    small = ["--quick", "--threads", "1", "--requests", "3", "--arrivals", "3", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine", *small], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(out.read_text())["measured"]
    assert {figure["part"] for figure in measured["figures"]} == set(PARTS)
    assert "share of the gain that the curve allows" in done.stdout
    assert "| --- |" in out.with_suffix(".md").read_text()
    parity = {f["name"]: f["value"] for f in measured["figures"] if f["part"] == "parity"}
    assert parity["reproducible: bytes equal alone and together"] == 1.0

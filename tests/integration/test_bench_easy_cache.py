"""The bench of EasyCache runs, and what it prints is true: fewer calls, and images nearer than fewer steps give."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.easy_cache import main

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own, at loading


def test_calls_are_left_out_and_images_stay_nearer_than_with_fewer_steps(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    assert main(["--steps", "16", "--thresholds", "0.2", "--images", "2", "--out", str(out)]) == 0
    full, easy, fewer = json.loads(out.read_text())
    assert (full["computed"], full["what"]) == (1.0, "in full")
    assert easy["computed"] < 0.8
    assert abs(fewer["computed"] - easy["computed"]) < 0.05
    assert easy["psnr_db"] > fewer["psnr_db"] + 3

"""The program that soaks a service runs through, for seconds; what grows in them says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak.memory import longest, slope

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_nothing_is_lost_under_mixed_load(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    small = ["--minutes", "0.2", "--pause-s", "0.5", "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *small], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert out.exists(), done.stderr
    found = json.loads(out.read_text())
    assert found["faults"] == []
    assert sum(found["done"].values()) > 5
    assert {name.split()[0] for name in found["samples"]} >= {"supervisor", "gateway", "worker"}


def test_slope_is_what_a_process_grows_by_in_an_hour_once_it_has_settled() -> None:
    filling = [(float(at), 10.0 * at) for at in range(10)]
    settled = [(float(at), 100.0 + at / 3600) for at in range(10, 100)]
    growth, mean = slope(filling + settled, after_s=10)
    assert growth == pytest.approx(1.0)
    assert mean == pytest.approx(100.0, abs=0.1)


def test_the_worker_that_lived_longest_speaks_for_its_kind() -> None:
    samples = {"worker 1": [(0.0, 1.0), (50.0, 1.0)], "worker 2": [(20.0, 2.0), (30.0, 2.0)], "gateway 3": [(0.0, 3.0)]}
    assert longest(samples, "worker") == samples["worker 1"]

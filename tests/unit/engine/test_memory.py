"""How many requests may be in flight follows from what is free beside the models, and from the models there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from darkroom.engine import cgroup, memory
from darkroom.engine.engine import Engine
from tests.parity.families import sd_solvers


def group(folder: Path, limit: str, used: int = 600, inactive: int = 100) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - inactive}\ninactive_file {inactive}\n")
    return folder


def test_a_container_gives_what_its_limit_leaves_and_its_page_cache(tmp_path: Path) -> None:
    assert cgroup.free_in_group(group(tmp_path, "1000")) == 500
    assert cgroup.free_in_group(group(tmp_path, "500", used=900)) == 0


def test_no_container_and_one_without_a_limit_bound_nothing(tmp_path: Path) -> None:
    assert cgroup.free_in_group(tmp_path) > 2**60
    assert cgroup.free_in_group(group(tmp_path, "max")) > 2**60


def test_the_page_cache_counts_as_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`available` is what the machine can give; `free` leaves out what caches hold."""
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.Budget(None).budget_bytes == pytest.approx(memory.psutil.virtual_memory().available / 4, rel=0.2)
    monkeypatch.setattr(memory, "CGROUP", group(tmp_path, "1000"))
    assert memory.Budget(None).budget_bytes == 125


def test_the_budget_is_what_is_free_beside_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([4000, 800, 2000])
    monkeypatch.setattr(memory, "_free_bytes", lambda: next(free))
    with Engine() as engine:
        assert engine._budget.budget_bytes == 1000
        engine.add(sd_solvers()["ddim"], "large")
        assert engine._budget.budget_bytes == 200
        engine.remove("large")
        assert engine._budget.budget_bytes == 500


def test_a_removed_model_is_no_longer_the_measure_of_the_others(call: dict[str, Any]) -> None:
    with Engine() as engine:
        for name in ("gone", "stays"):
            engine.add(sd_solvers()["ddim"], name)
            engine.submit(**call, model=name).result(60)
        engine.remove("gone")
        engine.submit(**call, model="stays").result(60)
        assert list(engine._budget._bytes_per_fiber) == ["stays"]

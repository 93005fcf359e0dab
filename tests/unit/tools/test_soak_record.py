"""The soak's gate: runs on record count only for what they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.soak import record


def entry(model: str = "tiny", *, workers: int = 30, gateways: int = 20, at_work: int = 25) -> dict[str, Any]:
    return {
        "model": model,
        "forked": model == "tiny",
        "jobs": 90,
        "kills": {"worker": workers, "gateway": gateways},
        "at_work": at_work,
    }


def enough() -> list[dict[str, Any]]:
    return [entry(record.BUNDLED if number % 5 == 0 else "tiny") for number in range(record.RUNS)]


def test_nothing_is_missing_where_all_was_reached() -> None:
    assert record.missing(enough()) == []
    assert record.summary(enough()).startswith("20 runs, 1000 kills (200 with the bundled model, 200 of processes")


def test_each_shortfall_is_said() -> None:
    assert record.missing(enough()[1:]) == ["runs: 19 of 20", "kills: 950 of 1000"]
    assert record.missing([entry() for _ in range(20)]) == ["kills with the bundled model: 0 of 100"]
    assert record.missing([*enough(), entry(at_work=-400)]) == ["workers killed with jobs running: 100 of 315"]


def test_what_is_on_record_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "soak.json"
    assert record.left(path, range(3)) == [0, 1, 2]
    for number in (2, 0):
        record.add(path, {"run": number, **entry()})
    assert record.left(path, range(3)) == [1]
    assert [each["run"] for each in record.read(path)] == [0, 2]
    assert [left.name for left in path.parent.iterdir()] == ["soak.json"]

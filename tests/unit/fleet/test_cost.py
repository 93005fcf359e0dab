"""What workers were paid for adds up, by whatever it is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from darkroom.core import Charge, WorkerTime
from darkroom.fleet.cost import By, told

TIMES = [
    WorkerTime("a", 10, 0.0, 3600.0, 100.0, 50.0, 1850.0, 1800.0, price_per_hour_usd=1.0, pool="spot"),
    WorkerTime("a", 11, 0.0, 1800.0, 0.0, 0.0, 900.0, 850.0, price_per_hour_usd=1.0, pool="spot"),
    WorkerTime("b", 11, 5.0, 3600.0, 200.0, 0.0, 400.0, 400.0, price_per_hour_usd=4.0),
]
CHARGES = [
    Charge(10, "a", "t", "m", 3, 4, 1700.0, 1700 / 3600),
    Charge(11, "a", "t2", "m", 1, 1, 800.0, 800 / 3600),
    Charge(11, "b", "t", "m2", 2, 2, 400.0, 1600 / 3600),
    Charge(11, "front", "t", "far", 1, 1, 9.0, 0.5),
]


def answer(by: By = By.POOL) -> dict[str, Any]:
    return told(TIMES, CHARGES, by, str)


def parts(row: dict[str, Any], unit: str = "seconds") -> dict[str, float]:
    return {part["part"]: part[unit] for part in row["parts"]}


def test_parts_add_up_to_what_was_paid() -> None:
    for row in (*answer()["rows"], *answer(By.DAY)["rows"], answer()["total"]):
        assert sum(parts(row).values()) == pytest.approx(row["paid_s"])
        assert sum(parts(row, "usd").values()) == pytest.approx(row["paid_usd"], abs=1e-5)


def test_the_total_says_what_time_went_to() -> None:
    total = answer()["total"]
    assert parts(total) == {
        "jobs": 2900.0,
        "uncharged": 150.0,
        "between": 100.0,
        "load": 50.0,
        "start": 300.0,
        "idle": 5500.0,
    }
    assert (total["paid_s"], total["paid_usd"]) == (9000.0, 5.5)
    assert total["idle_share"] == round(5500 / 9000, 4)
    assert (total["jobs"], total["images"], total["device_s"]) == (7, 8, 2909.0)
    assert total["cost_usd"] == pytest.approx(4100 / 3600 + 0.5, abs=1e-6)
    assert total["paid_per_image"] == pytest.approx(5.5 / 8)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (By.POOL, [("(no pool)", 2, 4.0), ("spot", 5, 1.5), ("(elsewhere)", 1, 0.0)]),
        (By.DAY, [("10", 4, 1.0), ("11", 4, 4.5)]),
        (By.TENANT, [("t", 7, None), ("t2", 1, None)]),
        (By.MODEL, [("m", 5, None), ("far", 1, None), ("m2", 2, None)]),
    ],
)
def test_rows_are_those_that_cost_most_and_days_in_their_order(by: By, expected: Any) -> None:
    assert [(row["name"], row["images"], row["paid_usd"]) for row in answer(by)["rows"]] == expected


def test_what_another_darkroom_ran_took_no_workers_time() -> None:
    [far] = [row for row in answer()["rows"] if row["name"] == "(elsewhere)"]
    assert (far["device_s"], far["cost_usd"], far["paid_s"]) == (9.0, 0.5, 0.0)
    assert set(parts(far).values()) == {0.0}


def test_an_image_costs_its_share_and_a_thousand_a_thousand_times() -> None:
    [row] = [row for row in answer(By.MODEL)["rows"] if row["name"] == "m2"]
    assert row["cost_per_image"] == pytest.approx(1600 / 3600 / 2, abs=1e-8)
    assert row["cost_per_1000_images"] == pytest.approx(1000 * row["cost_per_image"], rel=1e-4)


def test_of_nothing_nothing_is_said() -> None:
    said = told([], [], By.TENANT, str)
    assert said["rows"] == []
    assert (said["total"]["idle_share"], said["total"]["cost_per_image"], said["total"]["paid_s"]) == (None, None, 0.0)

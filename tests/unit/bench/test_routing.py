"""The simulation of routing: what is loaded, what is waited for, and that the store's rule is what it measures."""

from __future__ import annotations

import pytest

from bench.routing import Ask, Outcome, RoundRobin, Row, Run, Shop, claims, draw, row
from darkroom.jobs.store import HOLD_S

SHOP = Shop(workers=1, kept=1, load_s=8.0, adapter_s=1.0)
A, B = "a" * 64, "b" * 64


def asks(*said: tuple[float, str, str]) -> list[Ask]:
    """Jobs of two seconds: when, of which model, with which adapter."""
    return [Ask(number, at, 2.0, model, adapter) for number, (at, model, adapter) in enumerate(said)]


def through(came: list[Ask], shop: Shop, lines: int = 1) -> Outcome:
    return Run(came, shop, RoundRobin(lines)).to_the_end()


def test_one_worker_with_room_for_one_model_loads_at_each_change() -> None:
    found = through(asks((0.0, "m", ""), (0.0, "n", ""), (0.0, "m", "")), SHOP)
    assert found.loads == 3
    assert found.waits == pytest.approx([8.0, 18.0, 28.0], abs=0.01)
    assert (found.brought_s, found.busy_s) == (24.0, 30.0)


def test_the_least_recently_used_model_leaves() -> None:
    shop = Shop(workers=1, kept=2, load_s=8.0)
    came = asks(*[(0.0, model, "") for model in "mnmom"])  # o takes the place of n
    assert through(came, shop).loads == 3


def test_adapters_are_read_once_and_again_with_their_model() -> None:
    found = through(asks((0.0, "m", A), (0.0, "m", A), (0.0, "m", B), (0.0, "n", ""), (0.0, "m", A)), SHOP)
    assert (found.loads, found.reads) == (3, 3)
    assert found.waits == pytest.approx([9.0, 11.0, 14.0, 24.0, 35.0], abs=0.01)


def test_round_robin_waits_for_its_own_worker_while_others_are_idle() -> None:
    came = [Ask(0, 0.0, 100.0, "m"), Ask(1, 0.0, 1.0, "m"), Ask(2, 1.0, 1.0, "m")]
    shop = Shop(workers=2, kept=1, load_s=8.0)
    assert through(came, shop, lines=2).waits[-1] == pytest.approx(107.0, abs=0.01)
    assert max(through(came, shop).waits) == pytest.approx(8.0, abs=0.1)


def test_a_run_in_figures() -> None:
    assert row(0.5, "p", Outcome([1.0, 2.0, 3.0, 6.0], 2, 1, 10.0, 40.0)) == Row(
        0.5, "p", 4, 2, 1, 0.25, 3.0, 2.0, 6.0, 6.0
    )


def test_drawn_jobs_are_of_that_load() -> None:
    shop = Shop(workers=4)
    came = draw(4000, 24, 0.5, shop, seed=1)
    assert sum(ask.exec_s for ask in came) / (came[-1].arrived * shop.workers) == pytest.approx(0.5, rel=0.1)
    assert {ask.model for ask in came} == {f"model-{place}" for place in range(24)}


def test_held_jobs_find_the_idle_worker_that_has_their_model() -> None:
    shop = Shop(workers=4, kept=1, load_s=8.0)
    came = asks(*[(60.0 * number, "m", "") for number in range(20)])
    loads = {}
    for hold_s in (0.0, HOLD_S):
        with claims(came, hold_s) as line:
            loads[hold_s] = Run(came, shop, line).to_the_end().loads
    assert loads[HOLD_S] == 1
    assert loads[0.0] == shop.workers


def test_a_held_job_goes_to_another_worker_when_its_time_is_over() -> None:
    shop = Shop(workers=2, kept=1, load_s=8.0)
    came = asks((0.0, "m", ""), (60.0, "m", ""), (60.0, "m", ""))
    with claims(came, HOLD_S) as line:
        found = Run(came, shop, line).to_the_end()
    assert found.loads == 2
    assert found.waits[-1] == pytest.approx(HOLD_S + 0.25 / 2 + 8.0, abs=0.15)

"""The arithmetic behind the engine's figures."""

from __future__ import annotations

import pytest

from bench.engine import arrivals, ideal, parity, report
from bench.engine.figure import Figure, percentile
from bench.engine.systems import ripe
from bench.engine.workload import Request, arriving, mixed, poisson_times
from bench.service import start, submissions

FLAT_FROM_FOUR = {2: 2.0, 4: 3.0, 8: 6.0}


def _request(number: int, steps: int) -> Request:
    return Request(number, "a lake", steps, 5.0, "ddim", number)


def test_ideal_of_one_request_is_its_steps_alone() -> None:
    assert ideal.denoise_s([7], FLAT_FROM_FOUR) == pytest.approx(7 * 2.0)


def test_ideal_counts_only_requests_that_still_run() -> None:
    assert ideal.denoise_s([3, 1], FLAT_FROM_FOUR) == pytest.approx(3.0 + 2 * 2.0)


def test_ideal_takes_the_cheapest_split() -> None:
    steep = {2: 2.0, 4: 3.0, 8: 100.0}
    assert ideal.cheapest_s(4, steep) == pytest.approx([0.0, 2.0, 3.0, 5.0, 6.0])


def test_curve_is_read_between_and_past_its_points() -> None:
    assert ideal.seconds_at(FLAT_FROM_FOUR, 6) == pytest.approx(4.5)
    assert ideal.seconds_at(FLAT_FROM_FOUR, 16) == pytest.approx(12.0)


def test_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0
    assert percentile([5.0], 0.99) == 5.0


def test_windowed_batcher_waits_for_company_no_longer_than_its_window() -> None:
    waiting = [(10.0, _request(0, 8)), (10.2, _request(1, 8))]
    assert ripe(waiting, 10.3, 4, 0.5) == ([], pytest.approx(0.2))
    assert ripe(waiting, 10.5, 4, 0.5)[0] == [request for _, request in waiting]


def test_windowed_batcher_runs_a_full_group_at_once_and_equal_steps_only() -> None:
    waiting = [(10.0, _request(0, 4)), *((10.1, _request(number, 8)) for number in range(1, 6))]
    assert [request.number for request in ripe(waiting, 10.1, 4, 0.5)[0]] == [1, 2, 3, 4]


def test_one_at_a_time_is_first_come_first_served() -> None:
    waiting = [(10.0, _request(0, 4)), (10.1, _request(1, 8))]
    assert [request.number for request in ripe(waiting, 10.1, 1, 0.0)[0]] == [0]


def test_turns_of_the_mixed_load_differ_in_prompts_only() -> None:
    one, other = mixed(8, (4, 30), 1), mixed(8, (4, 30), 2)
    assert [(r.steps, r.guidance, r.solver) for r in one] == [(r.steps, r.guidance, r.solver) for r in other]
    assert not {r.prompt for r in one} & {r.prompt for r in other}
    assert {r.steps for r in one} >= {4, 30}


def test_arrivals_are_the_same_for_every_system() -> None:
    assert poisson_times(5, 2.0, 3) == poisson_times(5, 2.0, 3)
    assert arriving(5, (2, 4), 3) == arriving(5, (2, 4), 3)


@pytest.mark.parametrize(
    ("value", "is_more_better", "verdict"),
    [(0.96, True, "aim reached"), (0.9, True, "floor reached"), (0.5, True, "NOT REACHED")],
)
def test_figure_says_what_it_reached(value: float, is_more_better: bool, verdict: str) -> None:
    assert Figure("gain", "share", value, "%", 0.85, 0.95, is_more_better).verdict == verdict


def test_a_tie_is_not_ahead() -> None:
    assert Figure("arrivals", "p99 over the engine's", 1.0, "x", 1.0, is_tie_enough=False).verdict == "NOT REACHED"
    assert Figure("arrivals", "p99 over the engine's", 1.01, "x", 1.0, is_tie_enough=False).verdict == "floor reached"
    assert Figure("parity", "bytes", 1.0, "%", 1.0).verdict == "floor reached"


def _run(system: str, turn: int, latencies_s: tuple[float, ...]) -> arrivals.Run:
    return arrivals.Run(system, 0.5, turn, 0.0, 0.0, 0.0, 1.0, latencies_s)


def test_p99_is_taken_over_all_repeats_and_not_the_slowest_of_each() -> None:
    usual = (1.0,) * 30
    runs = [_run(name, turn, usual) for name in ("plain", "windowed") for turn in range(5)]
    runs += [_run("engine", turn, (*usual[1:], 9.0) if turn == 0 else usual) for turn in range(5)]
    found = {figure.name: figure for figure in arrivals.figures(runs, 0.5)}
    assert found["load 0.5, engine: p99"].value == 1.0
    ahead = found["load 0.5: p99 of plain over the engine's"]
    assert (ahead.value, ahead.verdict) == (1.0, "NOT REACHED")


def test_each_request_is_judged_by_its_own_noise() -> None:
    """One noisy request must not widen the bound of all the others."""
    judged, *_ = parity.figures([2e-5, 1e-6], [1e-7, 1e-4], [True])
    assert (judged.value, judged.verdict) == (pytest.approx(4.0), "NOT REACHED")
    judged, *_ = parity.figures([1e-6, 2e-4], [1e-7, 1e-4], [True])
    assert judged.verdict == "floor reached"


def test_figures_without_a_mark_are_not_judged() -> None:
    assert Figure("gain", "seconds", 3.0, "s").verdict == ""
    assert report.missed({1: [Figure("gain", "seconds", 3.0, "s")]}) == []


def test_a_store_that_could_not_be_measured_has_not_reached_its_floor() -> None:
    figures = submissions.figures_of({"control": [100.0, 200.0], "sqlite": [50.0, 120.0]})
    assert {figure.name: figure.verdict for figure in figures if figure.floor is not None} == {
        "sqlite over the control": "floor reached",
        "redis over the control": "NOT REACHED",
    }
    assert report.missed({2: figures}) == ["submissions: redis over the control, 2 threads"]


def test_the_parts_of_a_start_add_up_to_it() -> None:
    figures, _ = start.figures_of([{"gateway": 1.0, "ready": 5.0, "first image": 7.5}])
    assert [figure.value for figure in figures] == [1.0, 4.0, 2.5, 7.5]

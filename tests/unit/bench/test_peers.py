"""The bench of other servers: what is sent, in which order, what is kept, and what the figures say."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.peers import judged, report, workloads
from bench.peers.cells import Cell, Found, OtherCounts, Run, Shelf, order, visits
from bench.peers.conditions import REVISION, conditions
from bench.peers.estimate import estimate_s
from bench.peers.exports import EXPORTS, MEASURED
from bench.peers.page import page
from bench.peers.run import capacity_of, drift
from bench.peers.size import QUICK, TAIL_LOAD, WORKLOADS, Size, once
from bench.peers.systems import SERVERS, SYSTEMS, Batch, splits
from bench.peers.tuning import NothingHolds, Try, next_batch, tried_best, tries_of, tuned
from darkroom.bench.figures import Outcome
from darkroom.bench.plan import Wanted
from darkroom.bench.template import values_of

KIND = "4 steps, 256x256, guided"
ALONE = {KIND: 1.0}
EVERY = {wanted.kind: 0.05 * wanted.steps for name in WORKLOADS for wanted in workloads.kinds(name)}


def _outcome(latency_s: float, code: str | None = None) -> Outcome:
    return Outcome(0, KIND, 0.0, 0.0, ended_s=latency_s, code=code, images=int(code is None))


def _found(workload: str, system: str, runs: list[Run], repeat: int = 0) -> Found:
    return Found(Cell(workload, repeat, system), runs)


def _server(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that runs in a peer's environment."""
    monkeypatch.syspath_prepend(str(SERVERS))
    return importlib.import_module(name)


def test_every_system_gets_the_same_requests_at_the_same_moments() -> None:
    for workload in WORKLOADS:
        assert workloads.parts(workload, QUICK, EVERY, 0) == workloads.parts(workload, QUICK, EVERY, 0)


def test_every_load_and_repeat_asks_for_other_pictures() -> None:
    plans = [part.plan for repeat in (0, 1) for part in workloads.parts("W2", Size(), EVERY, repeat)]
    prompts = [each.prompt for plan in plans for each in plan]
    assert len(set(prompts)) == len(prompts)


def test_no_two_requests_of_a_load_are_the_same_prompt() -> None:
    plan = workloads.at_once(500, seed=1)
    assert len({each.prompt for each in plan}) == 500
    assert {each.at_s for each in plan} == {0.0}


def test_sizes_come_in_the_shares_of_the_design_each_with_its_steps() -> None:
    asked = Counter((each.size, each.steps) for each in workloads.parts("W3", Size(), EVERY, 0)[0].plan)
    assert {kind: 5 * count for kind, count in asked.items()} == workloads.SIZED  # of twenty


def test_what_is_sent_is_of_a_kind_that_was_measured_alone() -> None:
    for workload in WORKLOADS:
        kinds = {wanted.kind for wanted in workloads.kinds(workload)}
        assert sum(workloads.kinds(workload).values()) == pytest.approx(1.0)
        sent = [each for part in workloads.parts(workload, Size(), EVERY, 0) for each in part.plan]
        assert {each.kind for each in sent} <= kinds


@pytest.mark.parametrize("size", [Size(), QUICK], ids=["full", "quick"])
@pytest.mark.parametrize("repeat", [0, 1])
def test_a_load_is_the_share_of_its_span_that_its_work_takes_alone(size: Size, repeat: int) -> None:
    for part in (part for name in WORKLOADS for part in workloads.parts(name, size, EVERY, repeat)):
        if part.load is not None:
            work_s = sum(EVERY[each.kind] for each in part.plan)
            assert work_s / part.plan[-1].at_s == pytest.approx(part.load, rel=0.02)
            assert [each.at_s for each in part.plan] == sorted(each.at_s for each in part.plan)


def test_kinds_come_equally_often_in_every_rung_and_not_in_turn() -> None:
    for part in workloads.parts("W2", Size(), EVERY, 0):
        steps = [each.steps for each in part.plan]
        assert Counter(steps) == dict.fromkeys(workloads.STEPS, len(steps) // 5)
        assert steps[:5] * (len(steps) // 5) != steps


def test_a_spike_brings_ten_times_as_many_in_the_middle_third() -> None:
    [part] = workloads.parts("W5", Size(), EVERY, 0)
    thirds = Counter(min(2, int(3 * each.at_s / part.plan[-1].at_s)) for each in part.plan)
    assert thirds == {0: 5, 1: 50, 2: 5}


def test_a_whole_measurement_takes_no_longer_than_its_minutes() -> None:
    alone = {kind: seconds * 0.8 for kind, seconds in EVERY.items()}  # 0.6 seconds of W2, on two cores
    for size, minutes in ((Size(), 90), (QUICK, 10)):
        exported_s = estimate_s(once(size), EXPORTS, alone, MEASURED, muse=False)
        assert estimate_s(size, SYSTEMS, alone, WORKLOADS) + exported_s < minutes * 60


def test_the_serial_capacity_is_what_one_after_another_takes() -> None:
    alone = {wanted.kind: float(wanted.steps) for wanted in workloads.kinds("W2")}
    assert capacity_of("W2", alone) == pytest.approx(1 / 14.8)  # of 4, 8, 12, 20 and 30 steps


def test_systems_take_turns_and_each_repeat_begins_with_another() -> None:
    cells = list(order(Size(repeats=2), ["a", "b"], ["W2", "W6"]))
    assert [(cell.repeat, cell.system) for cell in cells] == [
        *((0, "a"), (0, "b"), (1, "b"), (1, "a")),
        *((0, "a"), (0, "b")),
    ]


def test_what_is_measured_once_of_a_system_is_measured_of_one_server() -> None:
    once = [visit for visit in visits(Size(), ["a", "b"]) if visit[0].workload != "W2"]
    assert [[cell.workload for cell in visit] for visit in once] == [["W3", "W5", "W6"]] * 2


def test_a_run_goes_on_with_what_is_left_and_tries_again_what_failed(tmp_path: Path) -> None:
    cells = list(order(QUICK, ["a", "b", "c"], ["W2"]))
    shelf = Shelf(tmp_path, QUICK, {})
    done = _found("W2", "a", [Run(0.9, 3.0, [_outcome(1.5), _outcome(2.5, "http_500")])])
    shelf.keep(done)
    shelf.keep(Found(cells[1], failure="it ended by itself"))
    again = Shelf(tmp_path, QUICK, {})
    assert again.left(cells) == cells[1:]
    assert again.found(cells[0]) == done


def test_what_was_measured_with_other_counts_is_not_gone_on_with(tmp_path: Path) -> None:
    Shelf(tmp_path, QUICK, {})
    with pytest.raises(OtherCounts, match="--out"):
        Shelf(tmp_path, Size(), {})


def test_the_sweep_tries_windows_with_the_best_batch_then_other_threads_and_goes_on(tmp_path: Path) -> None:
    size, asked = Size(most=(1, 12), windows_s=(0.05, 0.25)), []

    def measure(batch: Batch) -> tuple[float, float, int]:
        asked.append(batch)
        return (0.5 if batch.most == 12 else 0.25), 3.0 - batch.window_s, 0

    best = Batch(12, 0.25, 1, 2)
    assert tuned("a", size, Shelf(tmp_path, size, {}), measure) == best
    alone, first = Batch(1, 0.05, 1, 2), Batch(12, 0.05, 1, 2)
    assert asked == [alone, first, best, Batch(12, 0.25, 1, 1), Batch(12, 0.25, 2, 1)]
    assert tuned("a", size, Shelf(tmp_path, size, {}), measure) == best
    assert len(asked) == 5
    assert next_batch(size, tries_of("a", Shelf(tmp_path, size, {}))[:2]) == best


def test_ours_is_tried_with_the_same_instances_and_threads(tmp_path: Path) -> None:
    asked = []

    def measure(batch: Batch) -> tuple[float, float, int]:
        asked.append((batch.instances, batch.threads))
        return 1.0, 1.0, 0

    tuned("darkroom", Size(), Shelf(tmp_path, Size(), {}), measure, is_gathering=True)
    assert asked == splits(2) == [(1, 2), (1, 1), (2, 1)]


def test_settings_with_which_a_request_failed_are_not_taken(tmp_path: Path) -> None:
    quick, slow = Try(4, 0.05, 1, 2, 0.9, 1.0, failed=1), Try(12, 0.05, 1, 2, 0.1, 2.0)
    assert tried_best([quick, slow]) == slow
    with pytest.raises(NothingHolds, match="every setting"):
        tuned("a", Size(), Shelf(tmp_path, Size(), {}), lambda _: (0.9, 1.0, 1))


def test_the_sweep_is_told_with_what_was_not_tried() -> None:
    tries = {
        "A": [Try(4, 0.05, 1, 2, 0.5, 2.0), Try(4, 0.25, 2, 1, 0.25, 3.0, failed=2)],
        "B": [Try(4, 0.05, 1, 2, 1.0, 1.0)],
    }
    table = report.tuning_table(tries)
    assert table.heads == ("system", "4 in 50 ms, 1 x 2 threads", "4 in 250 ms, 2 x 1 thread")
    assert table.rows == [("A", "50%, 2.0 s", "25%, 3.0 s, out: 2 failed"), ("B", "100%, 1.0 s", "-")]


def test_goodput_is_the_highest_load_that_all_lower_ones_reach_too() -> None:
    def run(load: float, late: int) -> Run:
        return Run(load, 10.0 / load, [_outcome(5.0)] * late + [_outcome(1.5)] * (10 - late))

    row = judged.row_of("a", [_found("W2", "a", [run(0.5, 0), run(0.9, 1), run(1.3, 5), run(1.8, 0)])], ALONE)
    assert row.goodput is not None
    assert row.goodput.rate == pytest.approx(0.9)
    assert [rung.attained for rung in row.rungs] == [1.0, 0.9, 0.5, 1.0]


def test_repeats_of_a_load_count_together() -> None:
    runs = [[Run(0.9, 5.0, [_outcome(seconds)])] for seconds in (1.0, 3.0)]
    row = judged.row_of("a", [_found("W2", "a", each, repeat) for repeat, each in enumerate(runs)], ALONE)
    assert (len(row.rungs), row.rungs[0].rate, row.rungs[0].attained) == (1, pytest.approx(0.9), 0.5)
    assert row.rungs[0].each == [1.0, 0.0]
    assert row.tail is not None
    assert row.tail.count == 2


def _row(system: str, rates: dict[float, float], worst_s: float) -> judged.Row:
    """With those shares in time at those loads, which are rates too."""
    runs = []
    for load, kept in rates.items():
        outcomes = [_outcome(worst_s)] + [_outcome(1.0 if n < kept * 100 else 9.0) for n in range(100)]
        runs.append(Run(load, 101 / load, outcomes))
    crowd = [_outcome(1.0), _outcome(2.0), _outcome(3.0, "http_503")]
    return judged.row_of(system, [_found("W2", system, runs), _found("W6", system, [Run(None, None, crowd)])], ALONE)


def test_what_failed_waited_for_ever() -> None:
    outcomes = [_outcome(0.1, "http_503")] * 2 + [_outcome(1.0)] * 98
    row = judged.row_of("a", [_found("W2", "a", [Run(TAIL_LOAD, 1.0, outcomes)])], ALONE)
    assert row.tail is not None
    assert (row.tail.p50, row.tail.worst) == (1.0, math.inf)


def test_nothing_is_held_against_a_peer_that_fails_everything() -> None:
    runs = [Run(load, 1.0, [_outcome(0.1, "http_503")] * 5) for load in (0.5, TAIL_LOAD)]
    peer = judged.row_of("a", [_found("W2", "a", runs)], ALONE)
    ours = _row("darkroom", {TAIL_LOAD: 1.0}, 1.0)
    assert [figure.name for figure, _ in judged.targets(ours, [peer])] == ["W6: users served"]


def test_a_target_names_the_peers_that_it_was_not_held_against() -> None:
    ours, peer = _row("darkroom", {TAIL_LOAD: 1.0}, 1.0), _row("a", {TAIL_LOAD: 1.0}, 1.0)
    told = [said for _, said in judged.targets(ours, [peer], ["Another"])]
    assert [said.endswith("of the peers measured, without Another") for said in told] == [True, True, False]


def test_a_folder_of_other_code_or_another_machine_is_not_gone_on_with(tmp_path: Path) -> None:
    now = conditions()
    Shelf(tmp_path, QUICK, now)
    Shelf(tmp_path, QUICK, now)
    for name in now:
        with pytest.raises(OtherCounts, match=name):
            Shelf(tmp_path, QUICK, now | {name: "other"})
    Shelf(tmp_path, QUICK, now | {REVISION: "other"}, may_mix=True)


def test_the_drift_of_the_machine_is_told_against_the_first_time() -> None:
    assert drift([{"a": [1.0, 9.0, 1.0], "b": [3.0]}, {"a": [2.0], "b": [3.0]}]) == [pytest.approx(0.25)]


def test_targets_are_held_against_the_best_peer() -> None:
    ours = _row("darkroom", {0.5: 1.0, 0.9: 1.0, 1.3: 1.0}, 2.0)
    peers = [_row("a", {0.5: 1.0, 0.9: 0.2}, 12.0), _row("b", {0.5: 0.3, 0.9: 0.2}, 10.0)]
    goodput, tail, crowd = [figure for figure, _ in judged.targets(ours, peers)]
    assert (goodput.value, goodput.verdict) == (pytest.approx(1.3 / 0.5), "aim reached")
    assert (tail.value, tail.verdict) == (pytest.approx(1 / 9), "floor reached")
    assert (crowd.value, crowd.verdict) == (pytest.approx(2 / 3), "NOT REACHED")


def test_a_peer_that_is_late_at_the_lowest_load_counts_with_it() -> None:
    ours, peer = _row("darkroom", {0.5: 1.0, 0.9: 1.0}, 1.0), _row("a", {0.5: 0.3}, 9.0)
    figure, said = judged.targets(ours, [peer])[0]
    assert figure.value == pytest.approx(0.9 / 0.5)
    assert "below 0.500" in said


def test_a_system_that_is_not_there_says_so_in_the_table_and_on_the_page() -> None:
    failed = [Found(Cell(workload, 0, "a"), failure="No matching distribution") for workload in ("W2", "W6")]
    gone = judged.row_of("a", failed, ALONE)
    rows, names = [_row("darkroom", {0.9: 1.0}, 1.0), gone], {"darkroom": "Darkroom", "a": "Another"}
    table = report.systems_table(rows, names, {}, 1.0)
    assert "not measured" in table.text()
    about = report.failures(failed, names)
    assert about == ["Another was not measured on W2, W6: No matching distribution"]
    assert all(len(row) == len(table.heads) for row in table.rows)
    told = page(about, [table, report.ladder_table(rows, names)], rows, names)
    assert "No matching distribution" in told
    assert "</html>" in told


def test_every_template_says_all_of_a_request() -> None:
    wanted = Wanted(0, 0.0, 17, "a lake", 23, guidance=3.5, size=(320, 192))
    for system in (*SYSTEMS, *EXPORTS):
        sent = system.template("http://127.0.0.1:1").request(wanted).content
        assert sent is not None
        for name in ("prompt", "steps", "guidance", "width", "height", "seed"):
            assert str(values_of(wanted)[name]) in sent.decode()


def test_a_peers_batch_is_calls_of_equals_in_the_order_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = _server("drawing", monkeypatch)
    said = {"prompt": "a lake", "guidance": 5.0, "width": 256, "height": 256, "seed": 1}
    batch = [drawing.read(said | {"steps": steps}) for steps in (4, 8, 4, 8, 12)]
    assert drawing.alike(batch) == [[0, 2], [1, 3], [4]]


def test_the_windowed_peer_runs_what_is_full_or_overdue_and_waits_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, windowed = _server("drawing", monkeypatch), _server("windowed", monkeypatch)

    def waiting(since: float, steps: int) -> Any:
        return windowed.Waiting(drawing.Asked("a lake", steps, 5.0, 256, 256, 1), since, None)

    line = [waiting(10.0, 4), waiting(10.1, 8), waiting(10.2, 8)]
    assert windowed.ripe(line, 10.2, 2, 0.5) == (line[1:], None)
    assert windowed.ripe(line, 10.2, 4, 0.5) == ([], pytest.approx(0.3))
    assert windowed.ripe(line, 10.5, 4, 0.5) == (line[:1], None)
    assert windowed.ripe([], 10.5, 4, 0.5) == ([], None)
